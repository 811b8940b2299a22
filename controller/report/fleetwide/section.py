"""The fleet-wide view of a deployment, from the records in the database.

Decides: that every record that came back counts, by class. Leaves out: what it says (`controller/trial/fleetwide`).
"""

from typing import Any

from sqlalchemy.orm import Session

from controller.fleet.views import trial_views
from controller.store import devices
from controller.store.deployments import get
from controller.trial.fleetwide.document import class_document
from controller.trial.fleetwide.survey import survey_classes


def fleetwide_rows(session: Session, deployment: str) -> list[dict[str, Any]]:
    """Return one document a class (and way of measuring) that sent records, by name.

    Raises:
        NotFound: No such deployment.
    """
    views = trial_views(session, deployment)
    known = {row.device: row.inventory or {} for row in devices.in_fleet(session, get(session, deployment).fleet)}
    hosts = {device: str(inventory.get("host_id") or device) for device, inventory in known.items()}
    surveys = survey_classes([(view.device_class, view.record) for view in views if view.record is not None], hosts)
    return [class_document(survey) for survey in surveys]
