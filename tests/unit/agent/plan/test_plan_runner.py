"""The measuring plan's shell: what is fetched, paused, measured, recorded. Measuring itself is a stand-in."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.device.durable import write_durably
from agent.errors import DiskFull
from agent.plan import measuring as measuring_module
from agent.plan import outbox as outbox_module
from agent.plan import runner as runner_module
from agent.plan.agenda import unmeasured
from agent.plan.provision import MOST_TRIES
from agent.update.judge import DISK_MARGIN_BYTES
from tests.unit.agent.plan.plan_stage import Stage, StandInMeasuring
from tests.unit.agent.plan.test_agenda import FACTS, T1, T2, T3, plan, request
from wire.trial import PlanPolicy
from wire.update import ReportedError


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
    assert stage.hushed == [300.0]
    assert stage.runner.measuring
    stage.measuring.finish("t1", "t2")
    stage.turn()
    assert stage.outcomes() == {"t1": "measured", "t2": "measured"}
    assert stage.pauses == ["pause", "resume"]
    assert stage.hushed == [300.0, None]
    assert not stage.runner.measuring
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


def test_a_workload_that_waited_does_not_begin_where_measuring_just_began(stage: Stage) -> None:
    """What stands before a posted call may begin to measure: the call is looked at again when its turn comes."""
    calls: list[str] = []
    stage.arrive(plan(3, T1, T3))
    stage.runner.when_not_measuring(lambda: calls.append("first"))
    stage.measuring.finish("t1")
    stage.turn()
    assert stage.measuring.requests == (T3,)
    stage.runner._measuring = None
    stage.runner.when_not_measuring(lambda: calls.append("second"))
    stage.runner._measuring = stage.measuring  # type: ignore[assignment]
    stage.turn()
    assert calls == ["first"]
    stage.measuring.finish("t3")
    stage.turn()
    assert calls == ["first", "second"]


def test_a_newer_plan_collects_what_only_the_older_one_named(stage: Stage) -> None:
    stage.arrive(plan(3, T1))
    stage.arrive(plan(4, T3))
    assert stage.collected == [False, False]
    stage.arrive(plan(5))
    assert stage.collected == [False, False]


@pytest.mark.parametrize(("room", "outcomes"), [(0, {"t1": "failed"}), (10**9, {})])
def test_trials_do_not_fill_the_disk(stage: Stage, room: int, outcomes: dict[str, str]) -> None:
    stage.facts = replace(FACTS, disk_free_bytes=DISK_MARGIN_BYTES)
    stage.room_by_collecting = room
    stage.arrive(plan(3, T1))
    assert True in stage.collected
    assert stage.outcomes() == outcomes
    assert bool(stage.downloads.fetched) is bool(room)
    if outcomes:
        assert stage.records()["t1"].error.startswith("disk_full: ")


def test_what_is_here_already_needs_no_room(stage: Stage) -> None:
    complete = frozenset({"a" * 64, "e" * 64})
    stage.facts = replace(FACTS, disk_free_bytes=0, complete=complete)
    stage.arrive(plan(3, T1))
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


def test_where_nobody_asks_no_pause_can_be_too_long(stage: Stage) -> None:
    stage.is_asked = False
    stage.arrive(plan(3, T1, policy=PlanPolicy(longest_pause_s=60.0)))
    stage.measuring.heard.turn()
    stage.turn()
    stage.turn(61.0)
    assert not stage.measuring.canceled
    stage.measuring.finish("t1")
    stage.turn()
    assert stage.outcomes() == {"t1": "measured"}
    assert stage.records()["t1"].serving_lost_s == 0


def test_a_pause_that_was_spent_once_is_no_verdict_on_the_next_group(stage: Stage) -> None:
    stage.arrive(plan(3, T1, T2, T3, policy=PlanPolicy(longest_pause_s=60.0)))
    stage.measuring.heard.turn()
    stage.turn()
    stage.turn(61.0)
    stage.measuring.finish("t1", "t2")
    stage.turn()
    assert stage.measuring.requests == (T3,)
    other = request("t9", group="h", bundle="c")
    stage.arrive(plan(4, T3, other).model_copy(update={"trials": (other,)}))
    assert stage.measuring.canceled
    stage.arrive(plan(5, T3))
    stage.measuring.finish()
    stage.turn()
    assert "t3" not in stage.outcomes()
    assert stage.measuring.requests == (T3,)


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


def test_a_faulty_disk_is_met_as_a_full_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, _: bytes) -> None:
        raise OSError(30, "Read-only file system", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(runner_module, "write_durably", broken)
        stage.arrive(plan(3, T1))
    assert [tell.reason for tell in stage.told] == ["disk_error"]
    stage.turn(11.0)
    assert stage.measuring.requests == (T1,)


def test_records_that_are_complete_are_kept_while_the_agent_stops_and_nothing_is_begun(stage: Stage) -> None:
    stage.arrive(plan(3, T1, T3))
    measuring = stage.measuring
    measuring.heard.record(unmeasured(T1, plan(3, T1), "measured", ""))
    stage.runner.stop()
    measuring.heard.end("")
    stage.turn()
    assert stage.outcomes() == {"t1": "measured"}
    assert StandInMeasuring.started == [measuring]


def test_a_refused_plan_is_told(stage: Stage) -> None:
    stage.arrive(plan(3, T1, device="barn-2"))
    assert [(tell.kind, tell.reason) for tell in stage.told] == [("refused", "not_for_us")]
    assert stage.runner.agenda.plan is None


def test_an_agenda_of_another_release_is_taken_anew(stage: Stage) -> None:
    (stage.folder / "plan.json").write_text('{"plan": 7}')
    stage.begin()
    assert stage.runner.agenda.plan is None
