"""What a rollout's decision sees and what it answers: plain values, made by the engine, read by `decide`.

Decides: phases, views, actions, and how one device's reports are read (`outcome_of`). Leaves out: the decisions.
Nothing here holds a clock: every time is an argument, in seconds since the epoch, as the engine took it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.rollout.policy import RolloutPolicy
from wire.device_state import FAILURES, State
from wire.sketch import SketchData


class Phase(StrEnum):
    """Where a rollout stands. Stored and shown by value."""

    DRAFT = "draft"
    PLANNED = "planned"
    APPROVAL = "approval"
    OFFER = "offer"
    SOAK = "soak"
    GATE = "gate"
    PAUSED = "paused"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    CANCELED = "canceled"
    SUPERSEDED = "superseded"
    COMPLETED = "completed"
    COMPLETED_WITH_STRAGGLERS = "completed_with_stragglers"


IN_WAVE = frozenset({Phase.OFFER, Phase.SOAK, Phase.GATE})
"""Phases of WAVE k."""
COMPLETE = frozenset({Phase.COMPLETED, Phase.COMPLETED_WITH_STRAGGLERS})
"""It reached its fleet."""
TERMINAL_PHASES = COMPLETE | {Phase.ROLLED_BACK, Phase.CANCELED, Phase.SUPERSEDED}
"""Nothing follows by itself; an operator may still roll back a complete or canceled rollout that is the latest."""


class Wish(StrEnum):
    """What an operator asks for. The engine clears it once a decision says `wish_done`."""

    APPROVE = "approve"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    ROLLBACK = "rollback"


class Verdict(StrEnum):
    """A gate's answer."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Standing:
    """All that the engine stores of a rollout between two decisions; it starts as `Standing()`."""

    phase: Phase = Phase.DRAFT
    wave: int = 0
    since_s: float = 0.0  # this phase was entered
    wave_since_s: float = 0.0  # this wave's OFFER was entered, pauses taken out
    paused_from: Phase | None = None
    failed_because: str = ""  # of the FAIL that began a rollback; sticky


@dataclass(frozen=True)
class DeviceView:
    """One device of the rollout.

    `offered_gen` is the generation under which this rollout's bundle was asked for, `restored_gen` that of its
    rollback (or hold); None where it was not. `reported_*`, `state` and `active` are the device's newest report.
    """

    device: str
    device_class: str
    wave: int
    bundle: str
    previous: str | None = None
    offered_gen: int | None = None
    restored_gen: int | None = None
    reported_gen: int = 0
    state: State | None = None
    active: str | None = None
    error: str = ""
    online: bool = False
    last_seen_s: float = 0.0


@dataclass(frozen=True)
class QueryGroup:
    """Queries of some devices since the wave began; counts only grow while the wave lasts."""

    devices: int = 0
    queries: int = 0
    errors: int = 0
    latency_ms: SketchData | None = None


@dataclass(frozen=True)
class ClassMetrics:
    """A class's canaries (new bundle) and what they are compared with.

    `concurrent` is true for a hold-out of the same class at the same time, false for the same devices before the wave
    (a class of one device, or a wave that takes all).
    """

    canary: QueryGroup
    compared: QueryGroup | None = None
    concurrent: bool = True


@dataclass(frozen=True)
class RolloutView:
    """All that a decision may depend on beside the policy and the time."""

    standing: Standing
    devices: tuple[DeviceView, ...] = ()
    wish: Wish | None = None
    metrics: Mapping[str, ClassMetrics] = field(default_factory=dict)
    superseded_by: str | None = None  # a newer rollout of the same workload on the same fleet

    @property
    def last_wave(self) -> int:
        """The highest wave that has devices."""
        return max((each.wave for each in self.devices), default=0)


@dataclass(frozen=True)
class Offer:
    """Publish desired `run` of `bundle`, with a new generation, and note it as `offered_gen`."""

    device: str
    bundle: str
    previous: str | None
    wave: int


@dataclass(frozen=True)
class Restore:
    """Take the device back: desired `run` of `bundle`, or `remove` where it ran none before; note `restored_gen`."""

    device: str
    bundle: str | None


@dataclass(frozen=True)
class Hold:
    """Publish desired `hold`: an update that has not switched stops, what runs goes on; note `restored_gen`."""

    device: str


RolloutAction = Offer | Restore | Hold


@dataclass(frozen=True)
class Ruling:
    """A gate's answer with its reason and what it was given; JSON types only in `inputs`."""

    gate: str
    device_class: str
    verdict: Verdict
    because: str
    inputs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What is to happen. The engine writes `standing`, `because` and `rulings`, then carries `actions` out.

    `changed` is false where nothing is to be written or done.
    """

    standing: Standing
    because: str
    actions: tuple[RolloutAction, ...] = ()
    rulings: tuple[Ruling, ...] = ()
    wish_done: bool = False
    changed: bool = False


class Outcome(StrEnum):
    """How a device's update came out so far, as gates count it."""

    UNOFFERED = "unoffered"
    UNREACHABLE = "unreachable"  # silent before it acknowledged: no failure
    WORKING = "working"
    COMMITTED = "committed"
    FAILED = "failed"
    INCOMPATIBLE = "incompatible"  # could not even try: not counted, listed
    ELSEWHERE = "elsewhere"  # follows a newer document than this rollout's: not counted, listed


_RUNS_THE_NEW = frozenset({State.SWITCH, State.PROBATION, State.ROLLBACK})


def outcome_of(device: DeviceView, policy: RolloutPolicy, now_s: float, watched: bool = False) -> Outcome:
    """Return how a device's update counts.

    Args:
        device: Its newest report and presence.
        policy: For `silence_s`.
        now_s: Time of the decision [s].
        watched: Its wave is being watched: a device that committed and then falls silent failed too.
    Returns:
        COMMITTED only where the attested digest is the offered one: what runs beats what is claimed.
    """
    if device.offered_gen is None:
        return Outcome.UNOFFERED
    if device.reported_gen < device.offered_gen or device.state is None:
        return Outcome.UNREACHABLE
    if device.reported_gen > device.offered_gen:
        return Outcome.ELSEWHERE
    silent = not device.online and now_s - device.last_seen_s > policy.silence_s
    return _acknowledged(device, device.state, silent, watched)


def _acknowledged(device: DeviceView, state: State, silent: bool, watched: bool) -> Outcome:
    if state in FAILURES:
        return Outcome.FAILED
    if state is State.INCOMPATIBLE:
        return Outcome.INCOMPATIBLE
    if state is State.COMMITTED:
        runs_it = device.active == device.bundle
        return Outcome.COMMITTED if runs_it and not (silent and watched) else Outcome.FAILED
    if state in (State.HELD, State.REMOVED):
        return Outcome.ELSEWHERE
    return Outcome.FAILED if silent and state in _RUNS_THE_NEW else Outcome.WORKING
