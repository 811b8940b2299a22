"""Which worker runs when: change-over, crashes, restarts. The processes are stand-ins that the test moves by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.loop import Loop
from agent.supervise import serving as serving_module
from agent.supervise.run import RunSetup
from agent.supervise.serving import LONGEST_RESTART_S, MOST_STARTS, Serving
from agent.update.probation import GRACE_S, Probation
from wire.update import Limits, ReportedError

A, B = "a" * 64, "b" * 64
CRASH = ReportedError(code="worker_crashed", error_class="terminal")
NOT_STARTED = ReportedError(code="worker_not_started", error_class="retryable")


class StandIn:
    """Looks like a `ServingRun`."""

    def __init__(
        self, _setup: object, _workload: str, bundle: str, _folder: Path, **heard: Callable[..., None]
    ) -> None:
        self.bundle = bundle
        self.bundle_dir = str(_folder)
        self.run = f"run-{id(self)}"
        self.ready = False
        self.stopping = False
        self.paused = False
        self.pid = 1
        self._heard = heard

    def become_ready(self) -> None:
        self.ready = True
        self._heard["on_ready"](self)

    def say(self, metrics: Mapping[str, Any]) -> None:
        self._heard["on_metrics"](metrics)

    def end(self, error: ReportedError | None = None) -> None:
        self.ready = False
        self._heard["on_end"](self, error)

    def stop(self) -> None:
        self.stopping = True

    def kill(self) -> None:
        self.stopping = True

    def pause(self, paused: bool) -> None:
        self.paused = paused


class Gateway:
    """Looks like a `GatewayProcess`, and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def listen(self, _workload: str, _heard: object) -> None:
        pass

    def expect(self, _workload: str) -> None:
        pass

    def attach(self, _workload: str, run: StandIn) -> None:
        self.told.append(("attach", run.bundle))

    def detach(self, _workload: str, _run: str) -> None:
        self.told.append(("detach", ""))

    def idle(self, _workload: str) -> None:
        self.told.append(("idle", ""))


class Stage:
    """A `Serving` whose workers, clock and memory the test holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.now_s = 0.0
        self.loop = Loop(lambda: self.now_s)
        self.runs: list[StandIn] = []
        self.told: list[str] = []
        self.settled: list[ReportedError | None] = []
        self.room = True
        self.missing: set[str] = set()
        monkeypatch.setattr(serving_module, "ServingRun", self._make)
        monkeypatch.setattr(Serving, "_room_for_two", lambda _: self.room)
        config = AgentConfig.model_validate({"fleet": "f", "device": "d", "state_dir": tmp_path})
        find = lambda digest: None if digest in self.missing else tmp_path  # noqa: E731 - one line, one use
        self.gateway = Gateway()
        setup = RunSetup(self.loop, config, self.gateway)  # type: ignore[arg-type]
        self.serving = Serving("main", setup, find, lambda reason, _: self.told.append(reason))

    def _make(self, *arguments: Any, **heard: Any) -> StandIn:
        self.runs.append(StandIn(*arguments, **heard))
        return self.runs[-1]

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass and everything that was posted happen."""
        self.now_s += seconds
        for _ in range(3):
            self.loop.post(self.loop.stop)
            self.loop.run()

    def serving_a(self) -> StandIn:
        self.serving.serve(A)
        self.turn()
        self.runs[0].become_ready()
        return self.runs[0]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_serving_settles_when_it_is_ready(stage: Stage) -> None:
    stage.serving.serve(A, stage.settled.append)
    stage.turn()
    assert (stage.settled, stage.serving.bundle) == ([], None)
    stage.runs[0].become_ready()
    assert (stage.settled, stage.serving.bundle) == ([None], A)


def test_serving_nothing_settles_at_once_and_ends_what_ran(stage: Stage) -> None:
    run = stage.serving_a()
    stage.serving.serve(None, stage.settled.append)
    assert run.stopping
    run.end()
    stage.turn()
    assert stage.settled == [None]
    assert not stage.serving.busy


def test_a_crash_is_met_with_restarts_that_come_ever_later(stage: Stage) -> None:
    stage.serving_a()
    delay_s, delays_s = 1.0, []
    for count in range(9):
        stage.runs[-1].end(CRASH)
        stage.turn(delay_s - 0.01)
        assert len(stage.runs) == count + 1
        stage.turn(0.02)
        assert len(stage.runs) == count + 2
        delays_s.append(delay_s)
        delay_s = min(LONGEST_RESTART_S, delay_s * 2)
    assert delays_s[-1] == LONGEST_RESTART_S
    assert stage.serving.tally.take(None)[0].restarts == 9
    assert set(stage.told) == {"worker_crashed"}


def test_with_room_the_old_worker_serves_until_the_new_one_is_ready(stage: Stage) -> None:
    old = stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    new = stage.runs[1]
    assert not old.stopping
    new.become_ready()
    assert old.stopping
    assert stage.settled == []
    old.end()
    assert stage.settled == [None]
    assert stage.serving.bundle == B
    assert stage.told == ["overlap"]


def test_without_room_the_old_worker_ends_first(stage: Stage) -> None:
    stage.room = False
    old = stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    assert old.stopping
    assert len(stage.runs) == 1
    old.end()
    stage.runs[1].become_ready()
    assert stage.settled == [None]
    assert stage.told == ["stop_then_start"]


@pytest.mark.parametrize("room", [True, False])
def test_a_new_worker_that_fails_is_told_and_not_started_again(stage: Stage, room: bool) -> None:
    stage.room = room
    old = stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    if not room:
        old.end()
    stage.runs[1].end(CRASH)
    stage.turn(1000.0)
    assert stage.settled == [CRASH]
    assert len(stage.runs) == 2
    stage.serving.serve(A)
    stage.turn()
    assert stage.serving.bundle == A if room else stage.runs[2].bundle == A


@pytest.mark.parametrize("room", [True, False])
def test_a_new_worker_that_could_not_be_started_is_started_again(stage: Stage, room: bool) -> None:
    stage.room = room
    old = stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    if not room:
        old.end()
    for _ in range(MOST_STARTS - 1):
        stage.runs[-1].end(NOT_STARTED)
        stage.turn(LONGEST_RESTART_S)
    assert [run.bundle for run in stage.runs] == [A, *[B] * MOST_STARTS]
    assert stage.settled == []
    stage.runs[-1].become_ready()
    if room:
        old.end()
    assert (stage.settled, stage.serving.bundle) == ([None], B)
    assert set(stage.told) == {"overlap" if room else "stop_then_start", "worker_not_started"}


def test_starts_that_go_on_failing_are_told_in_the_end(stage: Stage) -> None:
    stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    for _ in range(MOST_STARTS):
        stage.runs[-1].end(NOT_STARTED)
        stage.turn(LONGEST_RESTART_S)
    assert stage.settled == [NOT_STARTED]
    assert len(stage.runs) == 1 + MOST_STARTS
    assert stage.serving.bundle == A


def test_an_old_worker_that_crashes_between_two_starts_of_the_new_one_does_no_harm(stage: Stage) -> None:
    old = stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    stage.runs[1].end(NOT_STARTED)
    old.end(CRASH)
    assert stage.runs[2].bundle == B
    stage.turn(LONGEST_RESTART_S)
    assert len(stage.runs) == 3
    stage.runs[2].become_ready()
    assert (stage.settled, stage.serving.bundle) == ([None], B)


def test_an_old_worker_that_dies_while_the_new_one_starts_does_no_harm(stage: Stage) -> None:
    old = stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    old.end(CRASH)
    stage.runs[1].become_ready()
    assert (stage.settled, stage.serving.bundle) == ([None], B)


def test_a_bundle_that_is_not_there_is_a_failure(stage: Stage) -> None:
    stage.missing = {B}
    stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    stage.turn()
    assert [error.code for error in stage.settled if error] == ["bundle_missing"]
    assert stage.serving.bundle == A


def test_a_change_of_mind_while_the_old_worker_ends(stage: Stage) -> None:
    old = stage.serving_a()
    stage.serving.serve(B)
    stage.serving.serve(A, stage.settled.append)
    assert old.stopping
    old.end()
    assert [run.bundle for run in stage.runs] == [A, A]
    stage.runs[1].become_ready()
    assert stage.settled == [None]


def test_workers_that_start_in_a_pause_are_paused(stage: Stage) -> None:
    first = stage.serving_a()
    stage.serving.pause(True)
    assert first.paused
    stage.serving.switch(B, stage.settled.append)
    assert stage.runs[1].paused
    stage.serving.pause(False)
    assert not stage.runs[1].paused


# --- probation ---------------------------------------------------------------------------------------------------


def probation(stage: Stage, *, asks: bool = True, limits: Limits | None = None) -> Probation:
    watched = Probation(stage.loop, stage.serving, 3.0, stage.settled.append)
    watched.start(A, asks_queries=asks, limits=limits)
    stage.turn()
    return watched


def test_a_probation_counts_from_ready_and_needs_an_answer(stage: Stage) -> None:
    probation(stage)
    stage.turn(100.0)
    assert stage.settled == []
    stage.runs[0].become_ready()
    stage.turn(2.9)
    stage.runs[0].say({"workload": "main", "queries": 1})
    assert stage.settled == []
    stage.turn(0.2)
    assert stage.settled == [None]


def test_a_crash_fails_it(stage: Stage) -> None:
    probation(stage)
    stage.runs[0].become_ready()
    stage.runs[0].end(CRASH)
    stage.turn(100.0)
    assert stage.settled == [CRASH]
    assert len(stage.runs) == 1


def test_a_worker_that_could_not_be_started_does_not_fail_it(stage: Stage) -> None:
    probation(stage)
    stage.runs[0].end(NOT_STARTED)
    stage.turn(1.1)
    stage.runs[1].become_ready()
    stage.runs[1].say({"workload": "main", "queries": 1})
    stage.turn(3.1)
    assert stage.settled == [None]


def test_no_answer_fails_it_after_some_grace(stage: Stage) -> None:
    probation(stage)
    stage.runs[0].become_ready()
    stage.turn(3.1)
    assert stage.settled == []
    stage.turn(GRACE_S)
    assert [error.code for error in stage.settled if error] == ["no_answer"]


def test_a_late_first_answer_passes_it(stage: Stage) -> None:
    probation(stage)
    stage.runs[0].become_ready()
    stage.turn(3.1)
    stage.runs[0].say({"workload": "main", "queries": 1})
    assert stage.settled == [None]
    stage.turn(100.0)
    assert stage.settled == [None]


def test_a_source_that_asks_nothing_needs_no_answer(stage: Stage) -> None:
    probation(stage, asks=False)
    stage.runs[0].become_ready()
    stage.turn(3.1)
    assert stage.settled == [None]


@pytest.mark.parametrize(("limit_ms", "code"), [(5.0, "p95_limit"), (11.0, None)])
def test_the_documents_latency_limit_holds(stage: Stage, limit_ms: float, code: str | None) -> None:
    from wire.sketch import Sketch

    sketch = Sketch()
    sketch.add(10.0, 60)
    probation(stage, limits=Limits(p95_ms=limit_ms))
    stage.runs[0].become_ready()
    stage.runs[0].say({"workload": "main", "queries": 60, "latency_ms": sketch.data().model_dump()})
    stage.turn(3.1)
    assert [error.code if error else None for error in stage.settled] == [code]


def test_an_ended_probation_tells_nobody_and_crashes_are_met_with_restarts(stage: Stage) -> None:
    watched = probation(stage)
    stage.runs[0].become_ready()
    watched.end()
    stage.runs[0].end(CRASH)
    stage.turn(1.1)
    assert stage.settled == []
    assert len(stage.runs) == 2


def test_the_new_worker_is_asked_before_the_old_one_is_told_to_end(stage: Stage) -> None:
    first = stage.serving_a()
    stage.serving.switch(B, stage.settled.append)
    assert stage.gateway.told == [("attach", A)]
    stage.runs[1].become_ready()
    assert stage.gateway.told == [("attach", A), ("attach", B), ("detach", "")]
    assert first.stopping


def test_serving_nothing_tells_the_gateway(stage: Stage) -> None:
    stage.serving_a()
    stage.serving.serve(None)
    assert ("idle", "") in stage.gateway.told
