"""Fourth stage: the fleet's own devices measure.

Decides: that trials are asked once, a restart included, and that what came back void, or was cut short by the longest
pause, is measured again a few times, beside the control. Leaves out: who measures what (`planning/trial_plan`). Records
come in whenever devices send them.
"""

from collections import Counter
from dataclasses import dataclass, field

from controller.choose.measured import PAUSE_SPENT
from controller.deploy.context import DeployContext
from controller.deploy.planning.trial_plan import is_repeat, make_plan, repeats_of, requests_of
from controller.errors import NoDevice
from controller.fleet.views import TrialView
from controller.store import deployments, trials
from controller.trial.plan import TrialPlan
from wire.trial import TrialRequest

POLL_S = 1.0
SAY_AGAIN_S = 15.0
"""A device measures for a minute and says nothing: as often as this, the progress does."""
Requests = dict[str, list[TrialRequest]]
"""Device -> what it is asked to measure."""


@dataclass
class Told:
    """What the progress has said: the trials that came back, and when it last said something [s]."""

    said_s: float
    trials: set[str] = field(default_factory=set)


def run(context: DeployContext) -> None:
    """Ask for the trials (unless they were asked for already) and wait until all records are in.

    A device that stays silent is not waited for beyond `trials.timeout_s` (and its window): what has come by then
    decides.

    Raises:
        NoDevice: A class has no device that can measure, or sent nothing in time.
    """
    requests = _requests(context)
    _ask(context, requests)
    context.progress.stage("measuring", len(context.service.trials(context.deployment, with_records=False)))
    told = Told(said_s=context.clock())
    _wait(context, told)
    for again in range(1, context.settings.workload.trials.repeats + 1):
        requests = _unusable(context, requests, again)
        if not requests:
            break
        _ask(context, requests)
        named = ", ".join(f"{device}: {', '.join(each.variant for each in some)}" for device, some in requests.items())
        context.progress.say(f"measured again, since the last records are void or cut short: {named}")
        _wait(context, told)
    _settle(context, context.service.trials(context.deployment, with_records=False))


def _wait(context: DeployContext, told: Told) -> None:
    ends_s = context.clock() + context.settings.workload.trials.patience_s
    while _open(_tell(context, told)) and context.clock() < ends_s:
        context.service.wait_changed(POLL_S)


def _unusable(context: DeployContext, requests: Requests, again: int) -> Requests:
    """Return device -> what is to be measured once more: what came back void, and what a pause had no room for."""
    last = {request.trial for some in requests.values() for request in some}
    void: dict[str, set[str]] = {}
    spent: dict[str, set[str]] = {}
    for view in context.service.trials(context.deployment):
        if view.trial not in last or view.record is None:
            continue
        if any(flag.void for flag in view.record.flags):
            void.setdefault(view.device, set()).add(view.trial)
        if view.record.error.startswith(PAUSE_SPENT):
            spent.setdefault(view.device, set()).add(view.trial)
    found = {
        device: repeats_of(requests[device], void.get(device, ()), again, spent.get(device, ()))
        for device in sorted({*void, *spent})
    }
    return {device: some for device, some in found.items() if some}


def _requests(context: DeployContext) -> Requests:
    """Return what was asked before a restart, else what the planner says."""
    with context.store.read() as session:
        rows = [row for row in trials.of_deployment(session, context.deployment) if not is_repeat(row.trial)]
        asked = [(row.device, TrialRequest.model_validate(row.request)) for row in rows]
    if not asked:
        return _planned(context)
    return {device: [request for of, request in asked if of == device] for device, _ in asked}


def _planned(context: DeployContext) -> Requests:
    settings, made = context.settings, context.made
    with context.store.read() as session:
        rows = {row.variant: row for row in deployments.variants(session, context.deployment)}
    plan = make_plan(settings, context.service.devices(settings.fleet), list(rows.values()), context.deployment)
    if plan.impossible:
        raise NoDevice("; ".join(f"class {name} cannot measure: {why}" for name, why in plan.impossible.items()))
    _write_screen(context, plan)
    context.progress.say(f"measuring costs {plan.cost}")
    for warning in plan.warnings:
        context.progress.say(warning)
    assert made.evaluation is not None  # the stage before packed it
    bundles = {name: (rows[name], artifact.ref) for name, artifact in made.bundles.items()}
    return requests_of(plan, settings, context.deployment, bundles, made.evaluation.ref)


def _ask(context: DeployContext, requests: Requests) -> None:
    rules = context.settings.workload.trials
    classes = {view.device: name for name, views in context.devices_by_class().items() for view in views}
    context.service.ask_trials(context.deployment, requests, classes, rules.plan_policy)


def _write_screen(context: DeployContext, plan: TrialPlan) -> None:
    with context.store.begin() as session:
        for row in deployments.variants(session, context.deployment):
            row.screen = {
                part.device_class: {
                    "measured": row.variant in part.variants,
                    "because": part.screened_out.get(row.variant, ""),
                }
                for part in plan.classes
            }


def _tell(context: DeployContext, told: Told) -> list[TrialView]:
    views = context.service.trials(context.deployment, with_records=False)
    for view in views:
        if view.stage == "received" and view.trial not in told.trials:
            told.trials.add(view.trial)
            told.said_s = context.clock()
            context.progress.advance(f"{view.device}: {view.variant} {view.outcome}")
    if _open(views) and context.clock() - told.said_s >= SAY_AGAIN_S:
        told.said_s = context.clock()
        context.progress.say(f"still measuring: {_still(views)}")
    return views


def _still(views: list[TrialView]) -> str:
    """Return the devices that are to send records, each with how many."""
    left = Counter(view.device for view in views if view.stage == "asked")
    return ", ".join(f"{device} ({count} to come)" for device, count in sorted(left.items()))


def _open(views: list[TrialView]) -> bool:
    return any(view.stage == "asked" for view in views)


def _settle(context: DeployContext, views: list[TrialView]) -> None:
    heard = {view.device_class for view in views if view.stage == "received"}
    silent = sorted({(view.device_class, view.device) for view in views if view.device_class not in heard})
    if _open(views):
        context.service.cancel_trials(context.deployment)
    if silent:
        waited = context.settings.workload.trials.patience_s
        named = ", ".join(f"{device} (class {name})" for name, device in silent)
        raise NoDevice(
            f"no record came within {waited:.0f} s from {named}: see `controller fleet show`, then deploy again"
        )
