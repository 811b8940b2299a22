"""Fourth stage: the fleet's own devices measure. Trials are asked once; records come in whenever devices send them."""

from controller.deploy.context import DeployContext
from controller.deploy.planning.trial_plan import make_plan, requests_of
from controller.errors import NoDevice
from controller.fleet.views import TrialView
from controller.store import deployments
from controller.trial.plan import TrialPlan
from wire.trial import PlanPolicy

POLL_S = 1.0


def run(context: DeployContext) -> None:
    """Ask for the trials (unless they were asked for already) and wait until all records are in.

    A device that stays silent is not waited for beyond `trials.timeout_s`: what has come by then decides.

    Raises:
        NoDevice: A class has no device that can measure, or sent nothing in time.
    """
    if not context.service.trials(context.deployment):
        _ask(context)
    views = context.service.trials(context.deployment)
    context.progress.stage("measuring", len(views))
    told: set[str] = set()
    ends_s = context.clock() + context.settings.workload.trials.timeout_s
    while _open(_tell(context, told)) and context.clock() < ends_s:
        context.service.wait_changed(POLL_S)
    _settle(context, context.service.trials(context.deployment))


def _ask(context: DeployContext) -> None:
    settings, made = context.settings, context.made
    with context.store.read() as session:
        rows = {row.variant: row for row in deployments.variants(session, context.deployment)}
    plan = make_plan(settings, context.service.devices(settings.fleet), list(rows.values()), context.deployment)
    if plan.impossible:
        raise NoDevice("; ".join(f"class {name} cannot measure: {why}" for name, why in plan.impossible.items()))
    _write_screen(context, plan)
    context.progress.say(f"measuring costs {plan.cost}")
    assert made.evaluation is not None  # the stage before packed it
    bundles = {name: (rows[name], artifact.ref) for name, artifact in made.bundles.items()}
    requests = requests_of(plan, settings, context.deployment, bundles, made.evaluation.ref)
    classes = {device: part.device_class for part in plan.classes for device in part.devices}
    trials = settings.workload.trials
    policy = PlanPolicy(serving=trials.policy, longest_pause_s=trials.longest_pause_s)
    context.service.ask_trials(context.deployment, requests, classes, policy)


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


def _tell(context: DeployContext, told: set[str]) -> list[TrialView]:
    views = context.service.trials(context.deployment)
    for view in views:
        if view.stage == "received" and view.trial not in told:
            told.add(view.trial)
            context.progress.advance(f"{view.device}: {view.variant} {view.outcome}")
    return views


def _open(views: list[TrialView]) -> bool:
    return any(view.stage == "asked" for view in views)


def _settle(context: DeployContext, views: list[TrialView]) -> None:
    heard = {view.device_class for view in views if view.stage == "received"}
    silent = sorted({(view.device_class, view.device) for view in views if view.device_class not in heard})
    if _open(views):
        context.service.cancel_trials(context.deployment)
    if silent:
        waited = context.settings.workload.trials.timeout_s
        named = ", ".join(f"{device} (class {name})" for name, device in silent)
        raise NoDevice(
            f"no record came within {waited:.0f} s from {named}: see `controller fleet show`, then deploy again"
        )
