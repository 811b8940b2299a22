"""Which device measures what in a deploy: the planner's pure answer, from rows and inventories.

Decides: how rows become the planner's input and its answer the devices' requests. Leaves out: the plan
(`controller/trial`).
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence

from controller.compress.variant import BASELINE
from controller.config.classes import usable_engines
from controller.deploy.context import by_class
from controller.deploy.planning.screen import Screened, rank_variants
from controller.deploy.settings import DeploySettings
from controller.errors import ConfigurationError
from controller.fleet.views import DeviceView
from controller.store import tables
from controller.trial.cost import sitting_size, too_long
from controller.trial.plan import PlannedVariant, TrialDevice, TrialPlan, plan_trials
from wire.artifact import ArtifactRef
from wire.trial import TrialRequest

_REPEAT = re.compile(r"\.[0-9]+$")
_UNCHANGED = ("tflite_float", "converted")
"""Passes that only hand a float file on: such a variant is the control where only its engine runs."""


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
        for row in sorted(usable, key=lambda row: (not row.control, _is_converted(row)))
    ]
    return plan_trials(settings.workload.trials, trial_devices(settings, views), variants, salt)


def check_pause(settings: DeploySettings, views: list[DeviceView]) -> None:
    """Refuse a longest pause that has no room for the control and a variant, before anything is made or sent.

    Raises:
        ConfigurationError: A device that serves would have to pause for longer than `trials.longest_pause_s`.
    """
    rules = settings.workload.trials
    if rules.policy != "pause" or sitting_size(rules) >= 2:
        return
    if serving := sorted(each.device for each in trial_devices(settings, views) if each.serving):
        raise ConfigurationError(f"{', '.join(serving[:3])}{' …' if serving[3:] else ''}: {too_long(rules)}")


def requests_of(
    plan: TrialPlan,
    settings: DeploySettings,
    deployment: str,
    bundles: Mapping[str, tuple[tables.Variant, ArtifactRef]],
    evaluation: ArtifactRef,
) -> dict[str, list[TrialRequest]]:
    """Return device -> what it is asked to measure, the control first."""
    rules = settings.workload.trials
    asked: dict[str, list[TrialRequest]] = {}
    for part in plan.classes:
        for device in part.devices:
            asked[device] = [
                TrialRequest(
                    trial=trial_id(deployment, device, name, number),
                    workload=settings.workload_name,
                    bundle=bundles[name][1],
                    variant=name,
                    format=bundles[name][0].format,
                    engine=bundles[name][0].engine,
                    evaluation=evaluation,
                    scenario=rules.scenario,
                    settings=rules.scenario_settings,
                    grade=rules.grade,
                    threads=rules.threads,
                    profile=rules.profile,
                    group=f"{deployment}{_sitting(number)}",
                    control=name == part.control,
                )
                for number, sitting in enumerate(part.sittings, start=1)
                for name in sitting
            ]
    return asked


def repeats_of(
    requests: Sequence[TrialRequest], void: Collection[str], again: int, spent: Collection[str] = ()
) -> list[TrialRequest]:
    """Return what a device is asked to measure once more: its void trials and the control of their sitting.

    A void control leaves nothing to compare with: then all of its sitting is measured again. What a pause had no room
    for is measured in smaller sittings, where there are smaller ones.

    Args:
        requests: What it was asked the last time.
        void: Names of the trials whose record was void.
        again: Number of the repeat, from 1.
        spent: Names of the trials that were cut short, since the longest pause was over.
    """
    repeated: list[TrialRequest] = []
    for group in dict.fromkeys(request.group for request in requests):
        sitting = [request for request in requests if request.group == group]
        wanted = _wanted(sitting, {*void, *spent})
        if any(request.trial in spent for request in wanted):
            halves = [half for half in _halves(wanted) if len(half) < len(sitting)]
        else:
            halves = [wanted]
        for part, half in zip(("", ".b"), halves, strict=False):
            repeated += [_once_more(each, again, part) for each in half]
    return repeated


def _wanted(sitting: Sequence[TrialRequest], unusable: Collection[str]) -> list[TrialRequest]:
    if not any(request.trial in unusable for request in sitting):
        return []
    anew = any(request.control and request.trial in unusable for request in sitting)
    return [each for each in sitting if anew or each.control or each.trial in unusable]


def _halves(sitting: Sequence[TrialRequest]) -> list[list[TrialRequest]]:
    """Return two sittings in place of one, each with the control."""
    controls = [each for each in sitting if each.control]
    others = [each for each in sitting if not each.control]
    middle = (len(others) + 1) // 2
    return [[*controls, *half] for half in (others[:middle], others[middle:]) if half]


def _once_more(request: TrialRequest, again: int, part: str) -> TrialRequest:
    names = {name: f"{_REPEAT.sub('', getattr(request, name))}{part}.{again}" for name in ("trial", "group")}
    return request.model_copy(update=names)


def trial_id(deployment: str, device: str, variant: str, sitting: int = 1) -> str:
    """Return a trial's name: the same question has the same name, so that asking twice asks once.

    Behind a dot stand the sitting, from the second on (`.s2`), its second half where it was cut short (`.b`), and the
    repeat (`.1`): trials of a device that end alike were measured in turns (`TrialSummary.sitting`).
    """
    return f"{deployment}-{hashlib.sha256(f'{device}/{variant}'.encode()).hexdigest()[:12]}{_sitting(sitting)}"


def is_repeat(trial: str) -> bool:
    """Whether a trial's name is that of a repeat."""
    return _REPEAT.search(trial) is not None


def _sitting(number: int) -> str:
    return f".s{number}" if number > 1 else ""


def is_control(row: tables.Variant) -> bool:
    """Whether a variant is the uncompressed model: the baseline, or a float file of it for another engine, without
    options, which make it an idea of its own."""
    steps = [item for step in row.recipe.get("passes", ()) for item in step.items()]
    handed_on = [name in _UNCHANGED and parameters.get("precision", "float") == "float" for name, parameters in steps]
    plain = not any(row.recipe.get("engine_options", {}).values())
    return row.variant == BASELINE or (bool(handed_on) and all(handed_on) and plain)


def _is_converted(row: tables.Variant) -> bool:
    """Whether a variant begins with a conversion: the model's own files are its controls before that."""
    return any("converted" in step for step in row.recipe.get("passes", ()))


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


def trial_devices(settings: DeploySettings, views: list[DeviceView]) -> list[TrialDevice]:
    """Return the devices of a workload's classes as the planner takes them."""
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
                    # Measuring pauses all that the device serves, whoever asked for it.
                    serving=any(each.active is not None for each in view.workloads.values()),
                    host_id=view.inventory.host_id,
                )
            )
    return found
