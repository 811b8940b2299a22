"""What holds of every rollout, whatever its devices, its operator and its engine do."""

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.rollout.decide import decide
from controller.rollout.gates import failure_gate
from controller.rollout.policy import RolloutPolicy
from controller.rollout.view import (
    TERMINAL_PHASES,
    Decision,
    DeviceView,
    Hold,
    Offer,
    Outcome,
    Phase,
    Restore,
    RolloutView,
    Standing,
    Verdict,
    Wish,
    outcome_of,
)
from wire.device_state import State

NEW, OLD = "n" * 64, "0" * 64
POLICIES = [
    RolloutPolicy.model_validate(fields)
    for fields in (
        {"soak_s": 5, "deadline_s": 40, "silence_s": 10, "rollback_s": 30, "gate": {"timeout_s": 10}},
        {
            "waves": [{"devices": 1}, {"ratio": 0.5}, {"ratio": 1.0}],
            "soak_s": 0,
            "deadline_s": 40,
            "silence_s": 10,
            "rollback_s": 30,
            "approval": "every_wave",
            "gate": {"timeout_s": 10, "max_failure_ratio": 0.34, "min_sample": 2, "quorum_ratio": 0.6},
        },
    )
]


@dataclass
class Fleet:
    """An engine and devices in miniature: carries decisions out, and notes what was done in which standing."""

    policy: RolloutPolicy
    devices: dict[str, DeviceView]
    standing: Standing = field(default_factory=Standing)
    now_s: float = 100.0
    gen: int = 0
    offered: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)

    def view(self, wish: Wish | None = None) -> RolloutView:
        return RolloutView(self.standing, tuple(self.devices.values()), wish)

    def step(self, wish: Wish | None = None) -> Decision:
        seen = self.view(wish)
        decision = decide(self.policy, seen, self.now_s)
        assert decide(self.policy, seen, self.now_s) == decision  # a killed engine decides the same again
        self._check(decision, wish)
        for action in decision.actions:
            self._carry_out(action)
        self.standing = decision.standing
        return decision

    def settle(self) -> None:
        for _ in range(30):
            if not self.step().changed:
                return
        raise AssertionError("decisions never come to rest")

    def _check(self, decision: Decision, wish: Wish | None) -> None:
        before, after = self.standing, decision.standing
        if not decision.changed:
            assert after == before
            assert not decision.actions
        if before.phase in TERMINAL_PHASES and wish is not Wish.ROLLBACK:
            assert after == before
            assert not decision.actions
        if before.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
            assert after.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)  # FAIL is sticky
            assert not any(isinstance(action, Offer) for action in decision.actions)
        if after.wave > before.wave and before.phase is not Phase.PLANNED:
            self._check_passed(before.wave)
        names = [action.device for action in decision.actions]
        assert len(names) == len(set(names))

    def _check_passed(self, wave: int) -> None:
        """Every class that goes on had a PASS in the wave before, and no class failed."""
        for name in {each.device_class for each in self.devices.values()}:
            own = [each for each in self.devices.values() if each.device_class == name]
            outcomes = [outcome_of(each, self.policy, self.now_s, True) for each in own if each.wave == wave]
            follows = any(each.wave > wave for each in own)
            if outcomes:
                verdict = failure_gate(self.policy.gate, name, outcomes, closed=True).verdict
                assert verdict is Verdict.PASS or (not follows and verdict is not Verdict.FAIL)

    def _carry_out(self, action: Offer | Restore | Hold) -> None:
        device, self.gen = self.devices[action.device], self.gen + 1
        if isinstance(action, Offer):
            assert device.wave == self.standing.wave
            assert self.standing.phase is Phase.OFFER
            self.offered.append(action.device)
            self.devices[action.device] = replace(device, offered_gen=self.gen)
        else:
            if isinstance(action, Restore):
                assert action.bundle == device.previous
                self.restored.append(action.device)
            self.devices[action.device] = replace(device, restored_gen=self.gen)

    def report(self, name: str, state: State, online: bool) -> None:
        device = self.devices[name]
        gen = device.restored_gen or device.offered_gen
        if gen is None:
            return
        runs = device.previous if device.restored_gen else device.bundle
        active = runs if state is State.COMMITTED else device.previous
        changed = replace(device, reported_gen=gen, state=state, active=active, online=online, last_seen_s=self.now_s)
        self.devices[name] = changed


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    policy = draw(st.sampled_from(POLICIES))
    devices = {}
    for number in range(draw(st.integers(1, 6))):
        name, previous = f"d{number}", draw(st.sampled_from([OLD, None]))
        wave = draw(st.integers(0, len(policy.waves) - 1))
        devices[name] = DeviceView(name, draw(st.sampled_from("ab")), wave, NEW, previous, online=draw(st.booleans()))
    return Fleet(policy, devices)


def events(fleet: Fleet) -> st.SearchStrategy[tuple[str, object, object]]:
    reports = st.tuples(st.sampled_from(sorted(fleet.devices)), st.sampled_from(State), st.booleans())
    good = st.tuples(st.sampled_from(sorted(fleet.devices)), st.just(State.COMMITTED), st.just(True))
    times = st.tuples(st.just("wait"), st.sampled_from([0.0, 3.0, 11.0, 50.0]), st.none())
    wishes = st.tuples(st.just("wish"), st.sampled_from(Wish), st.none())
    return st.one_of(good, good, good, reports, times, times, wishes)


def happens(fleet: Fleet, event: tuple[str, object, object]) -> None:
    kind, value, online = event
    if kind == "wait":
        assert isinstance(value, float)
        fleet.now_s += value
    elif kind == "wish":
        assert isinstance(value, Wish)
        fleet.step(value)
    else:
        assert isinstance(value, State)
        fleet.report(kind, value, bool(online))


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_whatever_happens(data: st.DataObject) -> None:
    """The checks stand in `Fleet.step`; here also: each device is offered once, and taken back once."""
    fleet = data.draw(fleets())
    fleet.settle()
    for _ in range(data.draw(st.integers(0, 14))):
        happens(fleet, data.draw(events(fleet)))
        fleet.settle()
    assert len(fleet.offered) == len(set(fleet.offered))
    if fleet.standing.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        assert sorted(fleet.restored) == sorted(fleet.offered)
    else:
        assert not fleet.restored or fleet.standing.phase is Phase.SUPERSEDED


@given(fleets(), st.sampled_from([State.UNFIT, State.ROLLED_BACK, State.FAILED]))
@settings(max_examples=60, deadline=None)
def test_where_every_device_fails_nothing_beyond_the_first_wave_is_touched(fleet: Fleet, failure: State) -> None:
    first = min(each.wave for each in fleet.devices.values())
    for _ in range(12):
        fleet.settle()
        if fleet.standing.phase is Phase.APPROVAL:
            fleet.step(Wish.APPROVE)
        for name, each in fleet.devices.items():
            fleet.report(name, failure if each.restored_gen is None else State.COMMITTED, True)
        fleet.now_s += 3
    assert fleet.standing.phase is Phase.ROLLED_BACK
    assert {fleet.devices[name].wave for name in fleet.offered} == {first}
    assert sorted(fleet.restored) == sorted(fleet.offered)


@given(fleets(), st.sets(st.integers(0, 5)))
@settings(max_examples=60, deadline=None)
def test_where_nothing_fails_the_rollout_completes_or_pauses_for_lack_of_evidence(fleet: Fleet, away: set[int]) -> None:
    gone = {f"d{number}" for number in away} & fleet.devices.keys()
    fleet.devices |= {name: replace(fleet.devices[name], online=False) for name in gone}
    for _ in range(60):
        fleet.settle()
        if fleet.standing.phase is Phase.APPROVAL:
            fleet.step(Wish.APPROVE)
        for name in fleet.devices.keys() - gone:
            fleet.report(name, State.COMMITTED, True)
        fleet.now_s += 4
    straggling = {name for name in gone if fleet.devices[name].offered_gen is not None}
    if not gone:
        assert fleet.standing.phase is Phase.COMPLETED
    elif fleet.standing.phase is Phase.PAUSED:
        assert straggling
    else:
        assert fleet.standing.phase is Phase.COMPLETED_WITH_STRAGGLERS
        assert straggling == gone
    assert not fleet.restored
    for name in fleet.devices.keys() - gone:
        outcome = outcome_of(fleet.devices[name], fleet.policy, fleet.now_s)
        assert outcome in (Outcome.COMMITTED, Outcome.UNOFFERED)
