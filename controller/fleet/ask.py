"""Ask devices to measure, and call it off: trials' rows and the plans that follow from them.

Decides: that a plan is written anew only where what is open differs from what it lists. Leaves out: which variant is
measured where (`controller/trial/plan`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from controller.distribute.documents import Documents
from controller.errors import ConfigurationError
from controller.store import deployments, desired, trials
from wire.trial import PlanPolicy, TrialRequest


@dataclass(frozen=True)
class Asking:
    """What is asked of a fleet's devices for a deployment: device -> requests in order, device -> class."""

    deployment: str
    requests: Mapping[str, Sequence[TrialRequest]]
    classes: Mapping[str, str]
    policy: PlanPolicy


def ask_trials(session: Session, documents: Documents, asking: Asking, epoch: int, *, now_s: float) -> None:
    """Write the trials that are new, and a plan for each device whose open trials are not those of its plan.

    Raises:
        NotFound: No such deployment.
        ConfigurationError: A device without a class.
    """
    row = deployments.get(session, asking.deployment)
    if unclassed := sorted(set(asking.requests) - set(asking.classes)):
        raise ConfigurationError(f"no class is given for {', '.join(unclassed)}: trials are asked of classed devices")
    for device, wanted in asking.requests.items():
        for request in wanted:
            trials.ask(session, row, device, asking.classes[device], request, now_s=now_s)
        if _open(session, row.fleet, device) != _planned(session, row.fleet, device):
            documents.write_plan(session, row.fleet, device, asking.policy, epoch)


def cancel_trials(session: Session, documents: Documents, deployment: str, device: str | None, epoch: int) -> int:
    """Call off what has not come back, and take it out of the plans; return how many trials."""
    canceled = trials.cancel(session, deployment, device)
    for fleet, name in sorted({(row.fleet, row.device) for row in canceled}):
        plan = desired.get_plan(session, fleet, name)
        policy = PlanPolicy.model_validate(plan.document.get("policy", {})) if plan else PlanPolicy()
        documents.write_plan(session, fleet, name, policy, epoch)
    return len(canceled)


def _open(session: Session, fleet: str, device: str) -> list[str]:
    return [request.trial for request in trials.open_requests(session, fleet, device)]


def _planned(session: Session, fleet: str, device: str) -> list[str]:
    plan = desired.get_plan(session, fleet, device)
    return [request["trial"] for request in plan.document.get("trials", [])] if plan else []
