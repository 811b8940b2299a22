"""Which device measures what in a deploy: the planner's pure answer, from rows and inventories.

Decides: how rows become the planner's input and its answer the devices' requests. Leaves out: the plan
(`controller/trial`).
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence

from controller.compress.variant import BASELINE
from controller.config.classes import usable_engines
from controller.deploy.context import by_class
from controller.deploy.planning.screen import Screened, rank_variants
from controller.deploy.settings import DeploySettings
from controller.fleet.views import DeviceView
from controller.store import tables
from controller.trial.plan import PlannedVariant, TrialDevice, TrialPlan, plan_trials
from wire.artifact import ArtifactRef
from wire.trial import TrialRequest

_UNCHANGED = frozenset({"tflite_float"})
"""Passes that only hand the model's own float file on: such a variant is the control where only its engine runs."""


def make_plan(
    settings: DeploySettings, views: list[DeviceView], rows: Sequence[tables.Variant], salt: str
) -> TrialPlan:
    """Return who measures what, for the devices that are known now."""
    usable = [row for row in rows if row.error is None and row.offline is not None]
    ranks = rank_variants(_screened(usable), _loosest(settings))
    variants = [
        PlannedVariant(
            name=row.variant,
            recipe=str(row.recipe.get("name", row.variant)),
            engine=row.engine,
            baseline=is_control(row),
            rank=ranks.get(row.variant, 0.0),
        )
        for row in sorted(usable, key=lambda row: not row.control)
    ]
    return plan_trials(settings.workload.trials, _devices(settings, views), variants, salt)


def requests_of(
    plan: TrialPlan,
    settings: DeploySettings,
    deployment: str,
    bundles: Mapping[str, tuple[tables.Variant, ArtifactRef]],
    evaluation: ArtifactRef,
) -> dict[str, list[TrialRequest]]:
    """Return device -> what it is asked to measure, the control first."""
    asked: dict[str, list[TrialRequest]] = {}
    for part in plan.classes:
        for device in part.devices:
            asked[device] = [
                TrialRequest(
                    trial=trial_id(deployment, device, name),
                    workload=settings.workload_name,
                    bundle=bundles[name][1],
                    variant=name,
                    format=bundles[name][0].format,
                    engine=bundles[name][0].engine,
                    evaluation=evaluation,
                    grade=settings.workload.trials.grade,
                    group=deployment,
                    control=name == part.control,
                )
                for name in part.variants
            ]
    return asked


def repeats_of(requests: Sequence[TrialRequest], void: Collection[str], again: int) -> list[TrialRequest]:
    """Return what a device is asked to measure once more: its void trials and the control beside them.

    A void control leaves nothing to compare with: then everything is measured again.

    Args:
        requests: What it was asked the last time.
        void: Names of the variants whose record was void.
        again: Number of the repeat, from 1.
    """
    if not void:
        return []
    anew = any(request.control and request.variant in void for request in requests)
    return [
        request.model_copy(
            update={
                "trial": f"{request.trial.partition('.')[0]}.{again}",
                "group": f"{request.group.partition('.')[0]}.{again}",
            }
        )
        for request in requests
        if anew or request.control or request.variant in void
    ]


def trial_id(deployment: str, device: str, variant: str) -> str:
    """Return a trial's name: the same question has the same name, so that asking twice asks once."""
    return f"{deployment}-{hashlib.sha256(f'{device}/{variant}'.encode()).hexdigest()[:12]}"


def is_control(row: tables.Variant) -> bool:
    """Whether a variant is the uncompressed model: the baseline, or its own float file for another engine."""
    names = {name for step in row.recipe.get("passes", ()) for name in step}
    return row.variant == BASELINE or (bool(names) and names <= _UNCHANGED)


def _screened(rows: Sequence[tables.Variant]) -> list[Screened]:
    score = next((row.offline["score"] for row in rows if row.control and row.offline), 0.0)
    found = []
    for row in rows:
        offline = row.offline or {}
        if row.control:
            continue
        found.append(
            Screened(
                name=row.variant,
                engine=row.engine,
                recipe=row.recipe,
                wire_bytes=int(offline.get("model_wire_bytes", 0)),
                loss=score - offline["score"],
                sqnr_db=offline.get("sqnr_db"),
                known_slow=bool((offline.get("fusion") or {}).get("warning")),
            )
        )
    return found


def _loosest(settings: DeploySettings) -> float:
    return max(settings.workload.goals_of(one.name).largest_loss for one in settings.classes)


def _devices(settings: DeploySettings, views: list[DeviceView]) -> list[TrialDevice]:
    classes = {one.name: one for one in settings.classes}
    found = []
    for name, members in by_class(views, settings).items():
        for view in members:
            assert view.inventory is not None  # else it would have no class
            found.append(
                TrialDevice(
                    device=view.device,
                    device_class=name,
                    engines=usable_engines(classes[name], view.inventory),
                    online=view.online,
                    serving=view.workload(settings.workload_name).active is not None,
                    host_id=view.inventory.host_id,
                )
            )
    return found
