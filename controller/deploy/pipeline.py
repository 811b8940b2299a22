"""One deploy, stage by stage: each stage is written before it begins, and may run again after a crash.

Decides: the order of the stages, what makes a fleet up to date, how a deploy ends. Leaves out: the stages' work
(`stages/`). A process that dies leaves the row at its stage; the next `deploy` of the same settings, or `serve`, goes
on: files are in the cache, trials and the rollout in the database.

    run_deploy(service, deployment_id, Silent())
"""

from collections.abc import Callable, Mapping
from typing import Any

from controller.deploy.context import DeployContext, by_class, online_only
from controller.deploy.lease import Lease
from controller.deploy.progress import Progress
from controller.deploy.settings import DeploySettings, settings_of
from controller.errors import BrokerUnreachable, Busy, ControllerError, DiskFull, NoDevice
from controller.models.samples import LabelledData
from controller.service import Service
from controller.store import audit, deployments, tables

PRESENT_WAIT_S = 20.0
"""How long a deploy waits for a device of each class before it gives up [s]: an agent that starts now needs a few."""

_GO_ON_LATER = (Busy, BrokerUnreachable, DiskFull)
"""After these the deploy is not failed: the same command goes on once the cause is gone."""


def run_deploy(service: Service, deployment: str, progress: Progress, *, wait_through_pauses: bool = False) -> str:
    """Carry a deployment to its end and return its last stage: `completed` or `up_to_date`.

    Args:
        service: Started; it leads.
        deployment: Id of a row that is not at its end.
        progress: Told of every step.
        wait_through_pauses: Keep waiting while the rollout is paused, instead of raising.
    Raises:
        Busy: Another process works on it, or leads now.
        NoDevice: A class has no device present, or none that sent a record.
        NoFeasibleVariant: A class for which no variant keeps the limits; nothing was rolled out.
        RolloutFailed: Rolled back, aborted, superseded, or paused.
        UnusableModel: The model or its samples.
        KeyboardInterrupt: As it came, with a note on how to go on.
    """
    with service.store.read() as session:
        settings = settings_of(dict(deployments.get(session, deployment).settings))
    context = DeployContext(service, service.workspace, deployment, settings, progress, service.clock)
    with Lease(service.store, deployment, service.owner, service.clock) as lease:
        try:
            return _carry_on(context, lease, wait_through_pauses)
        except KeyboardInterrupt as exc:
            exc.add_note(_how_to_go_on(context))
            raise
        except ControllerError as exc:
            _end_badly(context, exc)
            raise


def check_settings(settings: DeploySettings, samples: LabelledData) -> None:
    """Refuse limits that the evaluation set cannot decide, before anything is made.

    Raises:
        ConfigurationError: A limit of another kind than the model, or smaller than what so many samples can show; or
            samples of one class.
        ConverterMissing: A limit under attack, without the environment in which attacks run.
    """
    from controller.choose.limits import check_classes, check_resolvable
    from controller.deploy.stages.attacking import check_attacks

    for device_class in settings.classes:
        goals = settings.workload.goals_of(device_class.name)
        check_resolvable(goals, len(samples), settings.model.kind)
        if settings.model.kind == "classification":
            check_classes(goals, samples.labels)
    check_attacks(settings, samples)


def missing_classes(context: DeployContext, timeout_s: float) -> list[str]:
    """Return the classes that have no device present, having waited for them for at most `timeout_s`."""
    settings = context.settings

    def empty() -> list[str]:
        groups = online_only(by_class(context.service.devices(settings.fleet), settings))
        return [name for name, views in groups.items() if not views]

    if empty():
        context.progress.say(f"waiting for a device of {', '.join(empty())}")
        context.service.wait_for_devices(settings.fleet, lambda _: not empty(), timeout_s)
    return empty()


def _carry_on(context: DeployContext, lease: Lease, wait_through_pauses: bool) -> str:
    check_settings(context.settings, context.samples())
    _require_devices(context)
    if (same_as := up_to_date_with(context)) is not None:
        context.progress.say(f"the fleet is up to date (as deployed by {same_as})")
        return _end(context, "up_to_date", {"same_as": same_as})
    _check_pause(context)
    for name, run in _stages(wait_through_pauses).items():
        lease.check()
        with _timed(context, name):
            outcome = run(context)
    return _end(context, "completed", {"rollout": outcome})


def _check_pause(context: DeployContext) -> None:
    from controller.deploy.planning.trial_plan import check_pause

    check_pause(context.settings, context.service.devices(context.settings.fleet))


def _stages(wait_through_pauses: bool) -> Mapping[str, Callable[[DeployContext], Any]]:
    from controller.deploy.stages import choosing, compressing, measuring, packing, rolling_out, screening

    return {
        "compressing": compressing.run,
        "screening": screening.run,
        "packing": packing.run,
        "measuring": measuring.run,
        "choosing": choosing.run,
        "rolling_out": lambda context: rolling_out.run(context, wait_through_pauses),
    }


class _timed:  # noqa: N801 - a context manager that reads as a verb
    """Writes that a stage begins, and when it ended."""

    def __init__(self, context: DeployContext, stage: str) -> None:
        self._context, self._stage = context, stage

    def __enter__(self) -> None:
        self._note("started_s")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._note("ended_s")

    def _note(self, what: str) -> None:
        context, now_s = self._context, self._context.clock()
        with context.store.begin() as session:
            row = deployments.set_stage(session, context.deployment, self._stage, now_s=now_s)
            stages = dict((row.progress or {}).get("stages", {}))
            known = stages.get(self._stage, {"started_s": now_s})
            stages[self._stage] = {"started_s": known["started_s"], "ended_s": now_s if what == "ended_s" else None}
            row.progress = {**(row.progress or {}), "stages": stages}


def _require_devices(context: DeployContext) -> None:
    missing = missing_classes(context, PRESENT_WAIT_S)
    if missing:
        wanted = {one.name: one for one in context.settings.classes}
        named = "; ".join(f"{name} (matches {_shown_match(wanted[name].match)})" for name in missing)
        raise NoDevice(
            f"fleet {context.settings.fleet}: no device is present of class {named}: start its agents, or correct the "
            "match in the fleet file; `controller fleet show` lists who is there"
        )


def _shown_match(match: Any) -> str:
    fields = match.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{name} {value}" for name, value in fields.items()) or "every device"


def up_to_date_with(context: DeployContext) -> str | None:
    """Return the deployment whose result the fleet has already, or None.

    It is the newest one that did anything, it completed, it had the same settings, and every present device attests the
    bundle that it chose for its class.
    """
    settings = context.settings
    with context.store.read() as session:
        earlier = [
            row
            for row in deployments.listed(session, settings.fleet, settings.workload_name)
            if row.id != context.deployment and row.stage != "up_to_date"
        ]
        last = earlier[0] if earlier else None
        if last is None or last.stage != "completed" or last.settings.get("digest") != settings.digest:
            return None
        chosen = {row.device_class: row.bundle for row in deployments.choices(session, last.id)}
    groups = online_only(context.devices_by_class())
    attested = all(
        view.workload(settings.workload_name).active == chosen.get(name)
        for name, views in groups.items()
        for view in views
    )
    return last.id if attested else None


def _end(context: DeployContext, stage: str, result: dict[str, Any]) -> str:
    now_s = context.clock()
    with context.store.begin() as session:
        row = deployments.set_stage(session, context.deployment, stage, now_s=now_s)
        row.result = result
        audit.append(session, "controller", f"deployment.{stage}", context.deployment, result, now_s=now_s)
    return stage


def _end_badly(context: DeployContext, exc: ControllerError) -> None:
    """Write the failure, unless the deploy can go on; trials that are still out are called off."""
    from controller.deploy.stages.rolling_out import RolloutPaused

    if isinstance(exc, (*_GO_ON_LATER, RolloutPaused)):
        exc.add_note(_how_to_go_on(context))
        return
    now_s = context.clock()
    context.service.cancel_trials(context.deployment)
    with context.store.begin() as session:
        deployments.fail(session, context.deployment, exc.reason, str(exc), now_s=now_s)
        detail = {"reason": exc.reason, "detail": str(exc)}
        audit.append(session, "controller", "deployment.failed", context.deployment, detail, now_s=now_s)


def _how_to_go_on(context: DeployContext) -> str:
    with context.store.read() as session:
        row: tables.Deployment = deployments.get(session, context.deployment)
        stage = row.stage
    return (
        f"deployment {context.deployment} stopped in stage {stage.replace('_', ' ')}; devices keep whole bundles. "
        f"`controller deploy --fleet {context.settings.fleet} --workload {context.settings.workload_name}` goes on"
    )
