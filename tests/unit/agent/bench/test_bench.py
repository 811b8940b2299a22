"""`agent bench` on a folder: what people see, and what they are not shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.bench import BenchOptions, bench, bench_points, table
from agent.errors import ConfigurationError, NotFound
from agent.measure.protocol import GRADES
from agent.warm import ensure_warm
from tests.unit.agent.bench.bench_kit import VOID, record, replicate, steady
from tests.unit.agent.inference import bundle_kit as kit
from wire.trial import Energy, OperatorCost, Phases, Predictions, Profile, Samples, ScenarioSettings, Validity


def test_a_bundle_is_measured_and_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ensure_warm()
    # On a busy host further processes would follow: `measure/test_queue.py` plays that.
    monkeypatch.setitem(GRADES, "quick", replace(GRADES["quick"], looks=()))
    kit.write_bundle(tmp_path / "b")
    said: list[str] = []
    options = BenchOptions(grade="quick", profile=True, progress=lambda event, _: said.append(event))
    found = bench(tmp_path / "b", options)
    assert found.outcome == "measured"
    shown = table(found)
    for text in ("onnx-float (onnxruntime", "p50", "process medians", "kernels: library", "passed, 10 samples"):
        assert text in shown
    assert "p95" not in shown  # calls of microseconds are timed several at a time: tails are not known
    assert "flag mean_of_k" in shown
    assert {"begin", "replicate", "memory", "profile", "trial"} <= set(said)
    assert found.profile is not None
    assert found.profile.operators[0].calls == 1
    assert "MatMul (1 call)" in shown


def test_a_folder_without_bundle_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        bench(tmp_path, BenchOptions())


def test_a_sweep_over_batches_that_the_scenario_does_not_have_is_refused(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    with pytest.raises(ConfigurationError, match="belongs to the scenario offline"):
        bench_points(tmp_path / "b", BenchOptions(sweep_batches=(1, 2)))


def test_percentiles_are_given_only_where_the_samples_allow() -> None:
    shown = table(record([[2_000_000] * 58]))
    assert "needs 59 samples" in shown
    assert "needs 299 samples" in shown
    assert "2.0000 ms" in table(record([[2_000_000] * 400])).split("p99", 1)[1]


def test_the_median_is_over_processes_and_not_over_queries() -> None:
    """A process that answers more queries in its time does not count for more."""
    shown = table(record([[10**6] * 400, [4 * 10**6] * 60]))
    assert "p50              2.0000 ms (" in shown
    assert "over 2 processes)" in shown
    assert "process medians  1.0000, 4.0000 ms" in shown
    assert "p95              4.0000 ms" in shown  # of 60 samples of each
    assert "quick" not in shown
    assert "one process: no interval" in table(record([[10**6] * 60]))


def test_what_is_left_after_a_rise_is_told_as_sustained() -> None:
    rising = [10**6] * 30 + [2 * 10**6] * 30
    processes = tuple(replicate(rising, flags=flags) for flags in (("drift",), ()))
    assert "sustained        2.0000 ms" in table(record([], replicates=processes))
    assert "sustained" not in table(record([rising, rising]))


def test_an_emulated_device_is_called_so() -> None:
    assert "emulated         this device's limits" in table(steady(10**6, emulated=True))
    assert "emulated" not in table(steady(10**6))


def test_answers_name_the_set_that_they_are_of() -> None:
    found = Predictions(evaluation="e" * 64, samples=4, classes=Samples.pack([1, 2, 3, 4]))
    assert "answers          4 on the evaluation set eeeeeeeeeeee" in table(steady(10**6, predictions=found))


def test_flags_stand_with_their_remedy_and_a_void_speed_is_not_called_valid() -> None:
    shown = table(record([[1] * 9], flags=(VOID,)))
    assert "NOT VALID: probe_invalid" in shown
    assert "cool the device (voids the speed)" in shown
    assert "peak 4.0 MiB" in shown
    assert "validity         valid" in table(steady(10**6))
    found = table(steady(10**6, validity=Validity(valid=False, reasons=("drift",))))
    assert "NOT VALID: drift" in found


def test_what_was_not_measured_has_no_speed() -> None:
    shown = table(record([], outcome="incompatible", error="batch_fixed: one query at a time", memory=None))
    assert "incompatible: batch_fixed" in shown
    assert "no speed" in shown
    assert "p50" not in shown
    assert "energy" not in shown
    assert "(onnxruntime, 1 thread(s))" in table(record([], outcome="failed", engine_version="", memory=None))


@pytest.mark.parametrize(
    ("scenario", "settings", "says"),
    [
        ("multi_stream", {"streams": 4}, "4 queries at once"),
        ("offline", {"batch": 16}, "batches of 16"),
        ("server", {}, "half of what the device could answer"),
        ("server", {"rate_hz": 12.5}, "Poisson arrivals, 12.5 a second"),
        ("paced", {"period_ms": 40}, "one query every 40 ms"),
    ],
)
def test_the_scenario_is_told_in_words(scenario: str, settings: dict[str, float], says: str) -> None:
    assert says in table(steady(10**6, scenario=scenario, settings=ScenarioSettings(**settings)))  # type: ignore[arg-type]


def test_queries_that_come_by_themselves_show_rate_wait_and_lateness() -> None:
    waits = Samples.pack([100_000] * 60)
    found = [
        replicate([10**6] * 60, wait_ns=waits, queries_per_second=rate, over_bound_ratio=0.05) for rate in (99.0, 101.0)
    ]
    shown = table(record([], replicates=tuple(found), scenario="server", settings=ScenarioSettings(bound_ms=5)))
    assert "queries per second  100.0, 95 % interval" in shown
    assert "median 0.1000 ms, most 0.1000 ms" in shown
    assert "5.00 % over 5 ms" in shown


def test_starts_energy_and_operators_are_shown_where_they_were_measured() -> None:
    used = Energy(source="INA219", seconds=12, queries=1000, mean_w=4.5, idle_w=2.5, joules=24, joules_per_query=0.024)
    operators = [OperatorCost(operator=f"op{n}", calls=n, total_ns=1e5, share_ratio=0.1) for n in range(1, 11)]
    profile = Profile(engine="onnxruntime", queries=50, operators=tuple(operators), overhead_ratio=0.08, note="a note")
    loads = tuple(Phases(load_ms=value) for value in (90.0, 100.0, 900.0))
    shown = table(steady(10**6, energy=used, profile=profile, cold_loads=loads))
    assert "24 mJ a query above idle (4.50 W, idle 2.50 W, over 12 s and 1000 queries; INA219)" in shown
    assert "cold start       load 100.0 ms (median of 3)" in shown
    assert "profiling cost +8 %; a note" in shown
    assert "10.0 %     0.1000 ms  op1 (1 call)" in shown
    assert "20.0 %  2 more operator types" in shown


def test_a_profile_that_did_not_come_says_why() -> None:
    shown = table(
        steady(10**6, conditions={"profile_error": "engine_failed: LiteRT's profiler is reached from 2.3 on"})
    )
    assert "operators        not profiled: engine_failed: LiteRT's" in shown
