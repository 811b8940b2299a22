"""What a rollout does next. Pure: the same policy, view and time give the same decision.

    DRAFT -> PLANNED -> [APPROVAL] -> wave k {OFFER -> SOAK -> GATE} -> ... -> COMPLETED | COMPLETED_WITH_STRAGGLERS
    GATE: PASS -> next wave; INCONCLUSIVE -> wait, extend once, then PAUSED.  FAIL, whenever it shows -> ROLLING_BACK

Decides: one transition a call (call again while the decision is `changed`), and which devices are offered, restored or
held. Leaves out: generations, documents, the database (the engine writes a decision before it publishes).

- A failure stops a rollout at any time, in OFFER, SOAK, GATE, while it waits for approval and while it is paused: a
  pause holds back offers, not the emergency brake. FAIL is sticky: nothing leads from ROLLING_BACK back into a wave.
- A rollback takes back every device that was offered the bundle, of all waves, to what it ran before; a device that ran
  nothing before is told to remove the workload, since `hold` would leave the bundle running that did harm.
- Devices that never answered keep their desired document and converge when they return; they are stragglers.
- Abort stops what has not switched (`hold`) and takes nothing back.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from controller.rollout.gates import error_rate_gate, failure_gate, latency_gate
from controller.rollout.policy import RolloutPolicy
from controller.rollout.view import (
    COMPLETE,
    IN_WAVE,
    TERMINAL_PHASES,
    Decision,
    DeviceView,
    Hold,
    Offer,
    Outcome,
    Phase,
    Restore,
    RolloutAction,
    RolloutView,
    Ruling,
    Standing,
    Verdict,
    Wish,
    outcome_of,
)
from wire.device_state import FAILURES, TERMINAL

_OPEN = frozenset({Outcome.WORKING, Outcome.UNREACHABLE, Outcome.UNOFFERED})


@dataclass(frozen=True)
class _Look:
    """The arguments of `decide`, and what every rule reads from them."""

    policy: RolloutPolicy
    view: RolloutView
    now_s: float

    @property
    def standing(self) -> Standing:
        return self.view.standing

    @property
    def closed(self) -> bool:
        """The current wave's deadline has passed."""
        paused = self.standing.phase is Phase.PAUSED
        now_s = self.standing.since_s if paused else self.now_s
        return now_s - self.standing.wave_since_s >= self.policy.deadline_s

    def in_wave(self, wave: int, device_class: str | None = None) -> list[DeviceView]:
        return [
            each
            for each in self.view.devices
            if each.wave == wave and (device_class is None or each.device_class == device_class)
        ]

    def outcome(self, device: DeviceView) -> Outcome:
        watched = device.wave == self.standing.wave and self.standing.phase in IN_WAVE
        return outcome_of(device, self.policy, self.now_s, watched)

    def go(self, phase: Phase, because: str, **changes: object) -> Decision:
        standing = replace(self.standing, phase=phase, since_s=self.now_s, **changes)  # type: ignore[arg-type]
        return Decision(standing, because, changed=True)

    def stay(self, because: str) -> Decision:
        return Decision(self.standing, because)


def decide(policy: RolloutPolicy, view: RolloutView, now_s: float) -> Decision:
    """Return the next step of a rollout.

    Args:
        policy: Parsed when the rollout was created.
        view: The stored standing, every device's newest report, an operator's wish, metrics.
        now_s: Time [s since the epoch], not before `view.standing.since_s`.
    """
    look = _Look(policy, view, now_s)
    rulings = _rulings(look) if _can_fail(view.standing) else ()
    decision = _decided(look, rulings)
    wish_done = view.wish is not None
    return replace(decision, rulings=rulings, wish_done=wish_done, changed=decision.changed or wish_done)


def _decided(look: _Look, rulings: tuple[Ruling, ...]) -> Decision:
    phase = look.standing.phase
    if look.view.superseded_by and phase not in TERMINAL_PHASES:
        return look.go(Phase.SUPERSEDED, f"rollout {look.view.superseded_by} took its place")
    if look.view.wish is not None:
        return _WISHES[look.view.wish](look)
    failed = [ruling for ruling in rulings if ruling.verdict is Verdict.FAIL]
    if failed:
        because = "; ".join(f"{each.gate} gate of {each.device_class}: {each.because}" for each in failed)
        return _roll_back(look, because)
    if phase in TERMINAL_PHASES:
        return look.stay(f"{phase.value}: nothing follows")
    return _PHASES[phase](look, rulings)


def _can_fail(standing: Standing) -> bool:
    return standing.phase in IN_WAVE | {Phase.PAUSED, Phase.APPROVAL}


def _rulings(look: _Look) -> tuple[Ruling, ...]:
    """Return the failure gate of every wave begun so far, per class, and the query gates of the current wave."""
    found: list[Ruling] = []
    for wave in range(look.standing.wave + 1):
        members = look.in_wave(wave)
        if all(member.offered_gen is None for member in members):
            continue
        for name in sorted({member.device_class for member in members}):
            outcomes = [look.outcome(member) for member in look.in_wave(wave, name)]
            closed = wave < look.standing.wave or look.closed
            ruling = failure_gate(look.policy.gate, name, outcomes, closed)
            found.append(replace(ruling, inputs={**ruling.inputs, "wave": wave}))
            if wave == look.standing.wave:
                found.extend(_query_rulings(look, name))
    return tuple(found)


def _query_rulings(look: _Look, device_class: str) -> list[Ruling]:
    gate, metrics = look.policy.gate, look.view.metrics.get(device_class)
    found: list[Ruling] = []
    if gate.error_rate is not None:
        found.append(error_rate_gate(gate.error_rate, device_class, metrics))
    if gate.latency is not None:
        found.append(latency_gate(gate.latency, device_class, metrics))
    return found


def _plan(look: _Look, _: tuple[Ruling, ...]) -> Decision:
    if not look.view.devices:
        return look.stay("no device is in the rollout yet")
    waves = len({device.wave for device in look.view.devices})
    return look.go(Phase.PLANNED, f"{len(look.view.devices)} devices in {waves} waves")


def _begin(look: _Look, _: tuple[Ruling, ...]) -> Decision:
    first = min(device.wave for device in look.view.devices)
    if look.policy.approval != "none":
        return look.go(Phase.APPROVAL, f"wave {first + 1} waits for approval", wave=first)
    return _enter(look, first, "the policy asks for no approval")


def _enter(look: _Look, wave: int, because: str) -> Decision:
    return look.go(Phase.OFFER, f"wave {wave + 1} begins: {because}", wave=wave, wave_since_s=look.now_s)


def _wait_for_approval(look: _Look, _: tuple[Ruling, ...]) -> Decision:
    return look.stay(f"wave {look.standing.wave + 1} waits for approval: `controller rollout approve`")


def _offer(look: _Look, rulings: tuple[Ruling, ...]) -> Decision:
    members = look.in_wave(look.standing.wave)
    fresh = [each for each in members if each.offered_gen is None]
    if fresh:
        offers = tuple(Offer(each.device, each.bundle, each.previous, each.wave) for each in fresh)
        because = f"wave {look.standing.wave + 1}: {len(offers)} devices are offered their bundle"
        return Decision(look.standing, because, offers, changed=True)
    open_ = [each for each in members if look.outcome(each) in _OPEN]
    if not open_ or look.closed or _quorum_is_enough(look, open_, rulings):
        ended = len(members) - len(open_)
        return look.go(Phase.SOAK, f"{ended} of {len(members)} devices of the wave have ended; soaking")
    return look.stay(f"waiting for {_listed(open_)}")


def _quorum_is_enough(look: _Look, open_: list[DeviceView], rulings: tuple[Ruling, ...]) -> bool:
    """Whether a wave that is not the last may go on without devices that have not even acknowledged."""
    working = any(look.outcome(each) is Outcome.WORKING for each in open_)
    passed = all(ruling.verdict is Verdict.PASS for ruling in _current(look, rulings) if ruling.gate == "failure")
    return look.standing.wave < look.view.last_wave and not working and passed


def _soak(look: _Look, _: tuple[Ruling, ...]) -> Decision:
    left_s = look.policy.soak_s - (look.now_s - look.standing.since_s)
    if left_s > 0:
        return look.stay(f"soaking for {left_s:.0f} s more")
    return look.go(Phase.GATE, f"soaked for {look.policy.soak_s:g} s")


def _gate(look: _Look, rulings: tuple[Ruling, ...]) -> Decision:
    blocking = [ruling for ruling in _current(look, rulings) if _blocks(look, ruling)]
    if not blocking:
        return _passed(look, rulings)
    because = "; ".join(f"{each.gate} gate of {each.device_class}: {each.because}" for each in blocking)
    waited_s, timeout_s = look.now_s - look.standing.since_s, look.policy.gate.timeout_s
    if waited_s < timeout_s:
        return look.stay(f"inconclusive: {because}")
    if waited_s < 2 * timeout_s:
        return look.stay(f"inconclusive, extended once: {because}")
    return look.go(Phase.PAUSED, f"inconclusive for {waited_s:.0f} s: {because}", paused_from=Phase.GATE)


def _current(look: _Look, rulings: tuple[Ruling, ...]) -> list[Ruling]:
    return [each for each in rulings if each.inputs.get("wave", look.standing.wave) == look.standing.wave]


def _blocks(look: _Look, ruling: Ruling) -> bool:
    """Whether a gate that did not pass holds the wave up; missing evidence does where devices of its class follow."""
    if ruling.verdict is Verdict.PASS:
        return False
    if ruling.gate != "failure":
        gate = look.policy.gate.error_rate if ruling.gate == "error_rate" else look.policy.gate.latency
        return gate is not None and gate.required
    name = ruling.device_class
    if any(each.wave > look.standing.wave and each.device_class == name for each in look.view.devices):
        return True
    return not look.closed and any(look.outcome(each) in _OPEN for each in look.in_wave(look.standing.wave, name))


def _passed(look: _Look, rulings: tuple[Ruling, ...]) -> Decision:
    following = sorted({each.wave for each in look.view.devices if each.wave > look.standing.wave})
    if not following:
        return _finish(look)
    because = "; ".join(f"{each.device_class}: {each.because}" for each in _current(look, rulings))
    if look.policy.approval == "every_wave":
        because = f"wave {look.standing.wave + 1} passed ({because}); wave {following[0] + 1} waits for approval"
        return look.go(Phase.APPROVAL, because, wave=following[0])
    return _enter(look, following[0], f"wave {look.standing.wave + 1} passed ({because})")


def _finish(look: _Look) -> Decision:
    open_ = [each for each in look.view.devices if look.outcome(each) in _OPEN]
    if open_ and not look.closed:
        return look.stay(f"waiting until the deadline for {_listed(open_)}")
    aside = [each for each in look.view.devices if look.outcome(each) in (Outcome.INCOMPATIBLE, Outcome.ELSEWHERE)]
    more = f"; left out as incompatible or following a newer document: {_listed(aside)}" if aside else ""
    if open_:
        because = f"stragglers keep their order and converge when they return: {_listed(open_)}{more}"
        return look.go(Phase.COMPLETED_WITH_STRAGGLERS, because)
    done = sum(look.outcome(each) is Outcome.COMMITTED for each in look.view.devices)
    return look.go(Phase.COMPLETED, f"{done} of {len(look.view.devices)} devices run their bundle{more}")


def _paused(look: _Look, _: tuple[Ruling, ...]) -> Decision:
    return look.stay("paused: `controller rollout resume`, `abort` or `rollback`")


def _roll_back(look: _Look, because: str) -> Decision:
    touched = [each for each in look.view.devices if each.offered_gen is not None]
    begun = look.go(Phase.ROLLING_BACK, because, paused_from=None, failed_because=because)
    return replace(begun, actions=_restores(touched))


def _restores(devices: list[DeviceView]) -> tuple[RolloutAction, ...]:
    return tuple(Restore(each.device, each.previous) for each in devices)


def _rolling_back(look: _Look, _: tuple[Ruling, ...]) -> Decision:
    touched = [each for each in look.view.devices if each.offered_gen is not None]
    if missing := [each for each in touched if each.restored_gen is None]:
        return Decision(look.standing, f"taking back {_listed(missing)}", _restores(missing), changed=True)
    open_ = [each for each in touched if not _is_back(each)]
    if open_ and look.now_s - look.standing.since_s < look.policy.rollback_s:
        return look.stay(f"waiting for {_listed(open_)} to go back")
    stuck = [each for each in touched if _is_back(each) and each.state in FAILURES]
    notes = [f"could not go back: {_listed(stuck)}"] if stuck else []
    notes += [f"not yet back, will converge when they return: {_listed(open_)}"] if open_ else []
    return look.go(Phase.ROLLED_BACK, "; ".join([f"{len(touched)} devices taken back", *notes]))


def _is_back(device: DeviceView) -> bool:
    restored = device.restored_gen
    return restored is not None and device.reported_gen >= restored and device.state in TERMINAL


def _approve(look: _Look) -> Decision:
    if look.standing.phase is not Phase.APPROVAL:
        return look.stay(f"nothing to approve: the rollout is {look.standing.phase.value}")
    return _enter(look, look.standing.wave, "approved")


def _pause(look: _Look) -> Decision:
    if look.standing.phase not in IN_WAVE | {Phase.APPROVAL}:
        return look.stay(f"nothing to pause: the rollout is {look.standing.phase.value}")
    return look.go(Phase.PAUSED, "paused by an operator", paused_from=look.standing.phase)


def _resume(look: _Look) -> Decision:
    back = look.standing.paused_from
    if look.standing.phase is not Phase.PAUSED or back is None:
        return look.stay(f"nothing to resume: the rollout is {look.standing.phase.value}")
    shift_s = look.now_s - look.standing.since_s
    since_s = look.standing.wave_since_s + shift_s
    return look.go(back, "resumed by an operator", paused_from=None, wave_since_s=since_s)


def _abort(look: _Look) -> Decision:
    if look.standing.phase in TERMINAL_PHASES | {Phase.ROLLING_BACK}:
        return look.stay(f"nothing to abort: the rollout is {look.standing.phase.value}")
    open_ = [each for each in look.view.devices if look.outcome(each) in (Outcome.WORKING, Outcome.UNREACHABLE)]
    canceled = look.go(Phase.CANCELED, f"aborted by an operator; {len(open_)} devices held", paused_from=None)
    return replace(canceled, actions=tuple(Hold(each.device) for each in open_))


def _roll_back_by_wish(look: _Look) -> Decision:
    phase = look.standing.phase
    if look.view.superseded_by:
        return look.stay(f"rollout {look.view.superseded_by} took its place: roll that one back")
    if phase in TERMINAL_PHASES - COMPLETE - {Phase.CANCELED} or phase is Phase.ROLLING_BACK:
        return look.stay(f"nothing to roll back: the rollout is {phase.value}")
    return _roll_back(look, "rolled back by an operator")


def _listed(devices: list[DeviceView]) -> str:
    names = sorted(each.device for each in devices)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


_PHASES: dict[Phase, Callable[[_Look, tuple[Ruling, ...]], Decision]] = {
    Phase.DRAFT: _plan,
    Phase.PLANNED: _begin,
    Phase.APPROVAL: _wait_for_approval,
    Phase.OFFER: _offer,
    Phase.SOAK: _soak,
    Phase.GATE: _gate,
    Phase.PAUSED: _paused,
    Phase.ROLLING_BACK: _rolling_back,
}
_WISHES: dict[Wish, Callable[[_Look], Decision]] = {
    Wish.APPROVE: _approve,
    Wish.PAUSE: _pause,
    Wish.RESUME: _resume,
    Wish.ABORT: _abort,
    Wish.ROLLBACK: _roll_back_by_wish,
}
