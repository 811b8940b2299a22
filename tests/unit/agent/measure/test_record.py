"""From what processes left to a record: validity, energy, how long a process ran."""

from typing import Any

import pytest

from agent.measure.record import Measured, flags_of, mean_energy, running_s, validity_of
from tests.unit.agent.measure.test_queue import record_of, replicate, request
from wire.trial import Energy, Replicate, ScenarioSettings


def test_a_speed_is_valid_unless_a_void_reason_holds_in_most_processes() -> None:
    fine, bad = replicate(100), replicate(100, "throttled", "disturbed")
    for processes, valid, reasons in (((fine, fine, bad), True, ()), ((fine, bad, bad), False, ("throttled",))):
        one = record_of(*processes)
        found = validity_of(one, flags_of(one, ()))
        assert (found.valid, found.reasons) == (valid, reasons)


@pytest.mark.parametrize(
    ("outcome", "error", "reason"),
    [
        ("unfit", "golden_mismatch: outputs differ", "golden_mismatch"),
        ("incompatible", "batch_fixed: 'x' has no free batch axis", "batch_fixed"),
        ("failed", "", "failed"),
    ],
)
def test_what_was_not_measured_is_not_valid_for_its_reason(outcome: str, error: str, reason: str) -> None:
    one = Measured(request("a", "a" * 64), None, None)
    one.give_up(outcome, error)
    assert validity_of(one, ()).reasons == (reason,)


def energy(seconds: float, queries: int, mean_w: float) -> Energy:
    joules = (mean_w - 1.0) * seconds
    return Energy(
        source="s",
        seconds=seconds,
        queries=queries,
        mean_w=mean_w,
        idle_w=1.0,
        joules=joules,
        joules_per_query=joules / queries,
    )


def test_energy_is_that_of_the_processes_that_count() -> None:
    places = [replicate(100).model_copy(update={"order": place}) for place in range(3)]
    one = record_of(*places)
    assert mean_energy(one) is None
    one.energies = {0: energy(10.0, 100, 3.0), 1: energy(30.0, 300, 5.0), 2: energy(10.0, 1, 99.0)}
    one.replace_last()
    found = mean_energy(one)
    assert found is not None
    assert (found.seconds, found.queries, found.mean_w, found.joules) == (40.0, 400, 4.5, 140.0)
    assert found.joules_per_query == pytest.approx(0.35)


def with_conditions(**conditions: Any) -> Replicate:
    return replicate(1_000_000).model_copy(update={"conditions": conditions})


def test_a_process_ran_as_long_as_it_says_pauses_between_queries_included() -> None:
    assert running_s(with_conditions(warm_up_s=0.5, timed_s=2.0)) == 2.5
    assert running_s(with_conditions(calls_per_sample=3)) == pytest.approx((9 + 27) / 1000)  # an older record


def test_the_first_processs_rate_is_that_of_the_others() -> None:
    one = record_of(with_conditions(rate_hz=120.0), with_conditions(rate_hz=120.5))
    assert one.settings.rate_hz == 120.0
    assert record_of(replicate(100)).settings.rate_hz is None
    asked = request("a", "a" * 64, scenario="server", settings=ScenarioSettings(rate_hz=7.0))
    assert Measured(asked, None, None, [with_conditions(rate_hz=120.0)]).settings.rate_hz == 7.0
