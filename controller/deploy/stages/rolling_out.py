"""Last stage: hand the choices to the rollout's engine and follow it to its end."""

from controller.deploy.context import DeployContext
from controller.errors import RolloutFailed
from controller.rollout.spec import Member, RolloutSpec
from controller.store import deployments, rollouts
from wire.update import Limits

POLL_S = 1.0
REACHED = frozenset({"completed", "completed_with_stragglers"})


class RolloutPaused(RolloutFailed):
    """The rollout waits for an operator; the deploy can go on later."""

    reason = "rollout_paused"


def run(context: DeployContext, wait_through_pauses: bool = False) -> str:
    """Start the rollout (or find the one that was started) and wait for its end; return its id.

    Every known device of a class is in it, online or not: one that is off converges when it returns.

    Raises:
        RolloutFailed: It was rolled back, aborted or superseded.
        RolloutPaused: It waits for an operator, and the caller does not wait.
    """
    members = _members(context)
    context.progress.stage("rolling_out", len(members))
    rollout = context.service.start_rollout(
        RolloutSpec(
            fleet=context.settings.fleet,
            workload=context.settings.workload_name,
            policy=context.settings.workload.rollout,
            members=members,
            deployment=context.deployment,
            limits=_limits(context),
            retry_nonce=_retry_nonce(context),
        )
    )
    told: set[str] = set()
    phase = ""
    while True:
        state, because = _look(context, rollout, told)
        if state in rollouts.ENDED:
            return _ended(rollout, state, because)
        if state != phase:
            phase = state
            context.progress.say(f"{state.replace('_', ' ')}{f': {because}' if because else ''}")
        if state == "paused" and not wait_through_pauses:
            raise RolloutPaused(
                f"rollout {rollout} is paused: {because}. `controller rollout resume {rollout}` or `abort`, then "
                "deploy again to go on"
            )
        context.service.wait_changed(POLL_S)


def _retry_nonce(context: DeployContext) -> str:
    with context.store.read() as session:
        return str(deployments.get(session, context.deployment).settings.get("retry_nonce", ""))


def _members(context: DeployContext) -> tuple[Member, ...]:
    with context.store.read() as session:
        chosen = {row.device_class: row.bundle for row in deployments.choices(session, context.deployment)}
    return tuple(
        Member(view.device, name, bundle)
        for name, views in context.devices_by_class().items()
        for view in views
        if (bundle := chosen.get(name)) is not None
    )


def _limits(context: DeployContext) -> dict[str, Limits]:
    limits = {}
    for one in context.settings.classes:
        goals = context.settings.workload.goals_of(one.name)
        limits[one.name] = Limits(memory_bytes=goals.max_memory_bytes, p95_ms=goals.max_p95_ms)
    return limits


def _look(context: DeployContext, rollout: str, told: set[str]) -> tuple[str, str]:
    with context.store.read() as session:
        row = rollouts.get(session, rollout)
        for device in rollouts.devices(session, rollout):
            if device.outcome and device.ended_s is not None and device.device not in told:
                told.add(device.device)
                reason = f" ({device.reason})" if device.reason else ""
                context.progress.advance(f"wave {device.wave + 1}: {device.device} {device.outcome}{reason}")
        return row.state, row.because


def _ended(rollout: str, state: str, because: str) -> str:
    if state in REACHED:
        return rollout
    raise RolloutFailed(
        f"rollout {rollout} ended {state.replace('_', ' ')}: {because}; see `controller rollout show {rollout}`"
    )
