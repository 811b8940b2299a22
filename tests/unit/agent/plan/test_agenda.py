"""Which plans are taken and which trials are open."""

from typing import Any

import pytest

from agent.plan.agenda import Agenda, adopt, refusal, unmeasured
from agent.update.vocabulary import Facts
from wire.artifact import ArtifactRef
from wire.trial import Plan, TrialRequest

NOW_S = 2_000_000_000.0
FACTS = Facts("farm", "barn-1", frozenset({"onnxruntime"}), 10**9, NOW_S)


def ref(letter: str) -> ArtifactRef:
    return ArtifactRef(digest=letter * 64, index=("d" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)


def request(trial: str, group: str = "g", bundle: str = "a", evaluation: str | None = "e") -> TrialRequest:
    return TrialRequest(
        trial=trial,
        workload="main",
        bundle=ref(bundle),
        variant=trial,
        format="onnx",
        engine="onnxruntime",
        evaluation=ref(evaluation) if evaluation else None,
        group=group,
    )


def plan(plan_gen: int, *trials: TrialRequest, **changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "fleet": "farm",
        "device": "barn-1",
        "plan_gen": plan_gen,
        "epoch": 1,
        "trials": trials,
        "issued_s": NOW_S,
        "expires_s": NOW_S + 100,
        **changes,
    }
    return Plan(**fields)


T1, T2, T3 = request("t1"), request("t2", bundle="b"), request("t3", group="", bundle="c", evaluation=None)
AGENDA = Agenda(plan=plan(3, T1, T2, T3))


REFUSED: list[tuple[Plan, str | None]] = [
    (plan(4, T1), None),
    (plan(3, T1), None),
    (plan(2, T1), "old_generation"),
    (plan(4, T1, epoch=1), None),
    (plan(4, T1, device="barn-2"), "not_for_us"),
    (plan(4, T1, fleet="other"), "not_for_us"),
    (plan(4, T1, expires_s=NOW_S - 1), "expired"),
    (plan(3, T1, expires_s=NOW_S - 1), None),
]


@pytest.mark.parametrize(("arrived", "reason"), REFUSED)
def test_which_plans_are_taken(arrived: Plan, reason: str | None) -> None:
    refused = refusal(AGENDA, arrived, FACTS)
    assert (refused.code if refused else None) == reason


def test_an_older_epoch_is_refused() -> None:
    agenda = Agenda(plan=plan(3, T1, epoch=2))
    refused = refusal(agenda, plan(4, T1, epoch=1), FACTS)
    assert refused is not None
    assert refused.code == "old_epoch"


def test_groups_are_measured_one_after_the_other_and_loners_alone() -> None:
    assert AGENDA.next_group() == (T1, T2)
    assert AGENDA.with_done(["t1"]).next_group() == (T2,)
    assert AGENDA.with_done(["t1", "t2"]).next_group() == (T3,)
    assert AGENDA.with_done(["t1", "t2", "t3"]).next_group() == ()
    assert Agenda().next_group() == ()
    alone = Agenda(plan=plan(1, request("x", group=""), request("y", group="")))
    assert [each.trial for each in alone.next_group()] == ["x"]


def test_a_plan_delivered_again_measures_nothing_again() -> None:
    done = AGENDA.with_done(["t1", "t2", "t3"])
    assert adopt(done, plan(3, T1, T2, T3), []).open_requests() == ()


def test_a_newer_plan_measures_again_what_the_controller_has_lost() -> None:
    """Trials with a record in the outbox are done; acknowledged ones that are asked for again were lost."""
    done = AGENDA.with_done(["t1", "t2", "t3"]).with_starts(["t1", "t9"])
    adopted = adopt(done, plan(4, T1, T2), ["t2", "other"])
    assert adopted.open_requests() == (T1,)
    assert adopted.starts == {"t1": 1}


def test_a_trial_that_ends_the_agent_twice_is_given_up() -> None:
    agenda = AGENDA.with_starts(["t1", "t2"])
    assert not agenda.spent("t1")
    agenda = agenda.with_starts(["t1"])
    assert agenda.spent("t1")
    assert not agenda.spent("t2")
    assert not agenda.without_starts(["t1"]).spent("t1")


def test_artifacts_of_open_trials_are_kept() -> None:
    assert AGENDA.artifacts() == {letter * 64 for letter in "abce"}
    assert AGENDA.with_done(["t1", "t2"]).open_artifacts() == {"c" * 64}


def test_an_agenda_survives_the_disk() -> None:
    agenda = AGENDA.with_done(["t1"]).with_starts(["t2"])
    assert Agenda.model_validate_json(agenda.model_dump_json(exclude_none=True)) == agenda


def test_a_trial_that_was_not_measured_says_why() -> None:
    record = unmeasured(T1, plan(3, T1), "incompatible", "x" * 3000)
    assert (record.trial, record.plan_gen, record.bundle, record.outcome) == ("t1", 3, "a" * 64, "incompatible")
    assert len(record.error) == 2000
    assert record.replicates == ()
