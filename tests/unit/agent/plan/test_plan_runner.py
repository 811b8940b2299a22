"""The measuring plan's shell: what is fetched, paused, measured, recorded. Measuring itself is a stand-in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.artifacts.assemble import Assembled
from agent.config import AgentConfig
from agent.device.durable import write_durably
from agent.errors import DiskFull
from agent.loop import Loop
from agent.plan import measuring as measuring_module
from agent.plan import outbox as outbox_module
from agent.plan import runner as runner_module
from agent.plan.agenda import unmeasured
from agent.plan.measuring import Heard
from agent.plan.provision import MOST_TRIES
from agent.plan.runner import PlanRunner, Surroundings
from agent.update.vocabulary import Tell
from tests.unit.agent.plan.test_agenda import FACTS, T1, T2, T3, plan, request
from tests.unit.agent.plan.test_outbox import put_together
from wire.artifact import ArtifactRef
from wire.trial import Plan, PlanPolicy, TrialPart, TrialRecord, TrialRequest
from wire.update import Have, ReportedError


class StandInDownloads:
    """Has everything at once, but for what the test says fails."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.faults: dict[str, list[ReportedError]] = {}
        self.fetched: list[str] = []

    def fetch(
        self, _who: str, ref: ArtifactRef, done: Callable[[ReportedError | None], None], _: Callable[[Have], None]
    ) -> None:
        self.fetched.append(ref.digest[0])
        faults = self.faults.get(ref.digest[0], [])
        fault = faults.pop(0) if faults else None
        self.loop.post(lambda: done(fault))

    def assemble(self, ref: ArtifactRef, done: Callable[[Any], None]) -> None:
        self.loop.post(lambda: done(Assembled(Path("/artifacts") / ref.digest[0], None)))  # type: ignore[arg-type]

    def leave(self, _who: str) -> None:
        pass


class StandInMeasuring:
    """Looks like a `Measuring`; the test decides when its turn comes and what it finds."""

    started: "list[StandInMeasuring]" = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, requests: Any, folders: Any, _context: Any, _lock: Any, heard: Heard) -> None:
        self.requests: tuple[TrialRequest, ...] = tuple(requests)
        self.folders = folders
        self.heard = heard
        self.running = False
        self.canceled = False

    def start(self) -> None:
        self.started.append(self)

    def go(self) -> None:
        self.running = True

    def cancel(self) -> None:
        self.canceled = True

    def join(self, _timeout_s: float) -> None:
        pass

    def finish(self, *trials: str, fault: str = "") -> None:
        for each in self.requests:
            if each.trial in trials:
                self.heard.record(unmeasured(each, plan(3, each), "measured", ""))
        self.heard.end(fault)


class Stage:
    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.folder = folder
        self.loop = Loop(lambda: self.now_s)
        self.downloads = StandInDownloads(self.loop)
        self.changing = False
        self.told: list[Tell] = []
        self.parts: dict[str, list[TrialPart]] = {}
        self.pauses: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Start, as after a restart."""
        config = AgentConfig.model_validate({"fleet": "farm", "device": "barn-1", "state_dir": self.folder})
        around = Surroundings(
            config=config,
            version="1",
            loop=self.loop,
            downloads=self.downloads,  # type: ignore[arg-type]
            facts=lambda: FACTS,
            changing=lambda: self.changing,
            pause=self._pause,
            resume=lambda: self.pauses.append("resume"),
            tell=self.told.append,
            send=self._send,
        )
        self.runner = PlanRunner(around)

    def arrive(self, document: Plan) -> None:
        self.runner.arrived(document)
        self.turn()

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass and everything that was posted happen."""
        self.now_s += seconds
        for _ in range(20):
            self.loop.post(self.loop.stop)
            self.loop.run()

    @property
    def measuring(self) -> StandInMeasuring:
        return StandInMeasuring.started[-1]

    def records(self) -> dict[str, TrialRecord]:
        return {trial: put_together(parts) for trial, parts in self.parts.items()}

    def outcomes(self) -> dict[str, str]:
        return {trial: record.outcome for trial, record in self.records().items()}

    def _pause(self) -> bool:
        self.pauses.append("pause")
        return True

    def _send(self, part: TrialPart) -> bool:
        self.parts[part.trial] = [*(self.parts.get(part.trial, []) if part.part else []), part]
        return True


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(measuring_module, "Measuring", StandInMeasuring)
    StandInMeasuring.started.clear()
    return Stage(tmp_path)


def test_a_group_is_fetched_paused_for_measured_and_sent(stage: Stage) -> None:
    stage.arrive(plan(3, T1, T2))
    assert stage.downloads.fetched == ["a", "e", "b"]
    assert stage.measuring.requests == (T1, T2)
    assert stage.measuring.folders["a" * 64] == Path("/artifacts/a")
    assert (stage.pauses, stage.measuring.running) == ([], False)
    stage.measuring.heard.turn()
    stage.turn()
    assert (stage.pauses, stage.measuring.running) == (["pause"], True)
    stage.measuring.finish("t1", "t2")
    stage.turn()
    assert stage.outcomes() == {"t1": "measured", "t2": "measured"}
    assert stage.pauses == ["pause", "resume"]
    assert stage.records()["t1"].conditions["serving_policy"] == "pause"
    stage.runner.acknowledged(("t1", "t2"))
    assert stage.runner.unsent == []


def test_groups_come_one_after_the_other(stage: Stage) -> None:
    stage.arrive(plan(3, T1, T2, T3))
    assert len(StandInMeasuring.started) == 1
    stage.measuring.finish("t1", "t2")
    stage.turn()
    assert stage.measuring.requests == (T3,)


def test_to_coexist_is_not_to_pause(stage: Stage) -> None:
    stage.arrive(plan(3, T1, policy=PlanPolicy(serving="coexist")))
    stage.measuring.heard.turn()
    stage.turn()
    assert (stage.pauses, stage.measuring.running) == ([], True)


def test_measuring_waits_while_a_workload_changes(stage: Stage) -> None:
    stage.changing = True
    stage.arrive(plan(3, T1))
    stage.turn(5.0)
    assert StandInMeasuring.started == []
    stage.changing = False
    stage.turn(5.0)
    assert stage.measuring.requests == (T1,)


def test_a_workload_waits_while_something_is_measured(stage: Stage) -> None:
    calls: list[str] = []
    stage.runner.when_not_measuring(lambda: calls.append("before"))
    stage.turn()
    stage.arrive(plan(3, T1))
    stage.runner.when_not_measuring(lambda: calls.append("after"))
    stage.turn()
    assert calls == ["before"]
    stage.measuring.finish("t1")
    stage.turn()
    assert calls == ["before", "after"]


def test_a_missing_engine_is_incompatible_and_the_rest_is_measured(stage: Stage) -> None:
    other = request("t9", bundle="f").model_copy(update={"engine": "litert"})
    stage.arrive(plan(3, other, T1))
    assert stage.outcomes() == {"t9": "incompatible"}
    assert "f" not in stage.downloads.fetched
    assert stage.measuring.requests == (T1,)


def test_an_artifact_that_cannot_be_had_is_a_failed_trial(stage: Stage) -> None:
    full = ReportedError(code="disk_full", error_class="incompatible", detail="no room")
    stage.downloads.faults["b"] = [full]
    stage.arrive(plan(3, T1, T2))
    assert stage.outcomes() == {"t2": "failed"}
    assert stage.records()["t2"].error == "disk_full: no room"
    assert stage.measuring.requests == (T1,)


def test_a_download_that_may_work_again_is_tried_again_but_not_for_ever(stage: Stage) -> None:
    stage.downloads.faults["a"] = [ReportedError(code="slow", error_class="retryable")] * MOST_TRIES
    stage.arrive(plan(3, request("t1", evaluation=None)))
    for _ in range(MOST_TRIES):
        stage.turn(100.0)
    assert stage.downloads.fetched == ["a"] * MOST_TRIES
    assert stage.outcomes() == {"t1": "failed"}


def test_a_plan_delivered_again_measures_nothing_again(stage: Stage) -> None:
    stage.arrive(plan(3, T1))
    stage.measuring.finish("t1")
    stage.turn()
    stage.arrive(plan(3, T1))
    assert len(StandInMeasuring.started) == 1


def test_a_newer_plan_ends_what_it_does_not_name_and_goes_on_with_the_rest(stage: Stage) -> None:
    stage.arrive(plan(3, T1, T2))
    stage.arrive(plan(4, T2))
    assert stage.measuring.canceled
    stage.measuring.finish("t1")
    stage.turn()
    assert stage.outcomes() == {}
    assert stage.measuring.requests == (T2,)


def test_a_newer_plan_that_names_all_of_it_disturbs_nothing(stage: Stage) -> None:
    stage.arrive(plan(3, T1))
    stage.arrive(plan(4, T1, T3))
    assert not stage.measuring.canceled


def test_the_longest_pause_ends_the_measuring_and_says_so(stage: Stage) -> None:
    stage.arrive(plan(3, T1, T2, policy=PlanPolicy(longest_pause_s=60.0)))
    stage.measuring.heard.turn()
    stage.turn()
    stage.turn(61.0)
    assert stage.measuring.canceled
    stage.measuring.finish("t1")
    stage.turn()
    assert stage.outcomes() == {"t1": "measured", "t2": "failed"}
    assert stage.records()["t2"].error.startswith("pause_spent")
    assert stage.pauses == ["pause", "resume"]


def test_a_fault_in_the_measuring_is_a_failed_record(stage: Stage) -> None:
    stage.arrive(plan(3, T1))
    stage.measuring.finish(fault="OSError: no more processes")
    stage.turn()
    assert stage.records()["t1"].error == "OSError: no more processes"


def test_after_a_restart_records_are_sent_again_and_nothing_is_measured_twice(stage: Stage) -> None:
    stage.arrive(plan(3, T1, T3))
    stage.measuring.finish("t1")
    stage.turn()
    stage.parts.clear()
    stage.begin()
    stage.runner.connected()
    stage.runner.advance()
    stage.turn()
    assert stage.outcomes() == {"t1": "measured"}
    assert stage.measuring.requests == (T3,)


def test_a_trial_that_ends_the_agent_twice_is_given_up(stage: Stage) -> None:
    stage.arrive(plan(3, T1))
    for _ in range(2):
        stage.begin()
        stage.runner.advance()
        stage.turn()
    assert len(StandInMeasuring.started) == 2
    assert stage.records()["t1"].error.startswith("measuring_killed")


def test_a_clean_stop_costs_no_try(stage: Stage) -> None:
    stage.arrive(plan(3, T1))
    for _ in range(4):
        stage.runner.stop()
        assert stage.measuring.canceled
        stage.begin()
        stage.runner.advance()
        stage.turn()
    assert len(StandInMeasuring.started) == 5
    assert stage.outcomes() == {}


@pytest.mark.parametrize("writes_that_work", range(4))
def test_a_full_disk_loses_no_plan_and_no_record(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, writes_that_work: int
) -> None:
    """Agenda, start, record, agenda: the disk is full from one of these writes on, and later it is not."""
    left = [writes_that_work]

    def fill(path: Path, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise DiskFull(f"no room for {path}")
        write_durably(path, content)

    for module in (runner_module, outbox_module):
        monkeypatch.setattr(module, "write_durably", fill)
    stage.arrive(plan(3, T1))
    if StandInMeasuring.started:
        stage.measuring.finish("t1")
    stage.turn(1.0)
    assert "disk_full" in [tell.reason for tell in stage.told]
    left[0] = 1000
    stage.turn(60.0)
    if "t1" not in stage.outcomes():
        stage.measuring.finish("t1")
        stage.turn(60.0)
    assert stage.outcomes() == {"t1": "measured"}
    assert stage.runner.agenda.open_requests() == ()


def test_a_refused_plan_is_told(stage: Stage) -> None:
    stage.arrive(plan(3, T1, device="barn-2"))
    assert [(tell.kind, tell.reason) for tell in stage.told] == [("refused", "not_for_us")]
    assert stage.runner.agenda.plan is None


def test_an_agenda_of_another_release_is_taken_anew(stage: Stage) -> None:
    (stage.folder / "plan.json").write_text('{"plan": 7}')
    stage.begin()
    assert stage.runner.agenda.plan is None
