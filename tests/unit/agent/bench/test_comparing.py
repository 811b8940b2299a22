"""Two records against each other: verdicts, and numbers that must not be compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.bench.comparing import compare_records, compared_table, reasons_against
from agent.bench.points import points_table
from agent.bench.saved import as_json, compared_json, load, save
from agent.errors import ConfigurationError
from tests.unit.agent.bench.bench_kit import DOUBT, VOID, in_lock_step, record, replicate, steady
from wire.trial import Flag, ScenarioSettings


def test_the_bundle_is_judged_against_the_other() -> None:
    found = compare_records(steady(9_000_000), steady(10_000_000, variant="onnx-int8"), interleaved=True)
    assert found.verdict == "faster"
    assert found.comparison is not None
    assert found.comparison.ratio == pytest.approx(0.9, rel=1e-3)
    assert found.doubts == ()
    shown = compared_table(found)
    assert "faster: onnx-float takes 0.9000 of the time of onnx-int8 (97.5 % interval 0.89" in shown
    assert compare_records(steady(10_000_000), steady(9_000_000), interleaved=True).verdict == "slower"


def test_no_difference_is_told_with_what_would_have_been_seen() -> None:
    shown = compared_table(compare_records(steady(10**7), steady(10**7), interleaved=True))
    assert "no difference seen: onnx-float takes 1.0000 of the time of onnx-float (the other)" in shown
    assert "would have been seen in nine of ten comparisons" in shown


def test_two_processes_are_not_enough() -> None:
    found = compare_records(steady(10**7, processes=2), steady(10**6), interleaved=True)
    assert found.verdict == "not_enough_data"
    assert "use a higher grade" in compared_table(found)


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ({"flags": (VOID,)}, {}, "the speed of the bundle is void (probe_invalid)"),
        ({}, {"flags": (VOID,)}, "the speed of the other is void (probe_invalid)"),
        ({}, {"outcome": "failed", "error": "worker_crashed"}, "the other was not measured (failed: worker_crashed)"),
        ({"scenario": "offline"}, {"scenario": "paced"}, "the scenarios differ (offline and paced)"),
        ({"replicates": ()}, {}, "the bundle has no process that counts"),
    ],
)
def test_there_is_no_verdict_where_numbers_mean_nothing(
    ours: dict[str, Any], theirs: dict[str, Any], reason: str
) -> None:
    found = compare_records(steady(9 * 10**6, **ours), steady(10**7, **theirs), interleaved=True)
    assert found.verdict == "no_verdict"
    assert found.comparison is None
    assert any(each.startswith(reason) for each in found.against)
    assert reason in compared_table(found)


@pytest.mark.parametrize(
    ("ours", "theirs", "doubt"),
    [
        ({"conditions": {"cpu_model": "a"}}, {"conditions": {"cpu_model": "b"}}, "processor differs: a and b"),
        ({"grade": "quick"}, {}, "grade differs: quick and normal"),
        ({"threads": 2}, {}, "threads differs: 2 and 1"),
        ({"emulated": True}, {}, "emulated differs"),
        ({"emulated": True}, {"emulated": True}, "emulated: this device's limits are imposed by configuration"),
        ({"engine_version": "2.0"}, {}, "engine differs: onnxruntime 2.0 and onnxruntime 1.0"),
        ({"flags": (DOUBT,)}, {}, "busy_host (the bundle): measure when it is idle"),
        ({"flags": (DOUBT,)}, {"flags": (DOUBT,)}, "busy_host (both)"),
    ],
)
def test_what_else_differs_is_named(ours: dict[str, Any], theirs: dict[str, Any], doubt: str) -> None:
    found = compare_records(steady(9 * 10**6, **ours), steady(10**7, **theirs), interleaved=True)
    assert found.verdict == "faster"
    assert len([each for each in found.doubts if each.startswith(doubt)]) == 1


def test_settings_count_only_where_the_scenario_reads_them() -> None:
    chosen = [ScenarioSettings(period_ms=ms) for ms in (50, 80)]
    one, other = (steady(10**7, scenario="paced", settings=settings) for settings in chosen)
    assert "settings differs" in "".join(compare_records(one, other, interleaved=True).doubts)
    one, other = (steady(10**7, settings=settings) for settings in chosen)
    assert compare_records(one, other, interleaved=True).doubts == ()


def test_a_rate_of_its_own_is_a_doubt() -> None:
    one = steady(10**7, scenario="server")
    assert "give --rate-hz" in "".join(compare_records(one, one, interleaved=True).doubts)


def test_records_of_different_times_are_labelled() -> None:
    found = compare_records(steady(9 * 10**6), steady(10**7), interleaved=False)
    assert found.doubts[0].startswith("measured at different times")


def test_rounds_in_lock_step_are_compared_as_rounds() -> None:
    """Their process medians wander by far more than the variants differ."""
    ours = in_lock_step(10**7, [1.05, 2.10, 0.52, 1.05, 1.57])
    theirs = in_lock_step(10**7, [1.0, 2.0, 0.5, 1.0, 1.5])
    found = compare_records(ours, theirs, interleaved=True)
    assert found.comparison is not None
    assert (found.verdict, found.comparison.processes) == ("slower", (5, 5))
    assert found.comparison.ratio == pytest.approx(1.047, rel=0.003)
    shown = compared_table(found)
    assert "5 rounds in lock-step)" in shown
    assert "rounds   +5.00 %, +5.00 %, +4.00 %, +5.00 %, +4.67 %" in shown
    said = json.loads(compared_json([ours, theirs], found))["comparison"]
    assert (said["interleaving"], len(said["round_ratios"])) == ("lock-step", 5)
    apart = compare_records(ours, theirs, interleaved=False)
    assert apart.comparison is not None
    assert (apart.verdict, apart.log_ratios) == ("not_enough_data", ())


def test_what_slowed_both_alike_is_a_doubt_in_lock_step_and_no_reason_against_a_verdict() -> None:
    ours, theirs = in_lock_step(9 * 10**6, flags=(VOID,)), in_lock_step(10**7, flags=(VOID,))
    found = compare_records(ours, theirs, interleaved=True)
    assert found.verdict == "faster"
    assert [each for each in found.doubts if each.startswith("probe_invalid (both)")]
    own = Flag(reason="compiled_while_timing", remedy="run `agent warm`", void=True)
    broken = compare_records(in_lock_step(10**6, flags=(VOID, own)), theirs, interleaved=True)
    assert broken.verdict == "no_verdict"
    assert "is void (compiled_while_timing, probe_invalid)" in broken.against[0]


def test_lock_step_is_compared_with_its_like_only() -> None:
    found = compare_records(in_lock_step(10**6), steady(10**6), interleaved=False)
    assert found.verdict == "no_verdict"
    assert "(lock-step and processes)" in found.against[0]
    assert "(processes and lock-step)" in reasons_against(in_lock_step(10**6), "single_stream")[0]
    assert reasons_against(steady(10**6), "single_stream") == ()


def test_a_pair_that_could_not_be_in_lock_step_says_so() -> None:
    fields: dict[str, Any] = {"conditions": {"interleaving": "processes", "not_in_lock_step": "two need 300 MiB"}}
    found = compare_records(steady(10**6, **fields), steady(10**6, **fields), interleaved=True)
    assert found.doubts == ("not in lock-step: two need 300 MiB",)
    assert found.verdict == "no_difference_seen"


def offline(rates: list[float], **fields: Any) -> Any:
    processes = tuple(replicate([8 * 10**6] * 60, queries_per_second=rate) for rate in rates)
    return record([], replicates=processes, scenario="offline", **fields)


def test_offline_compares_queries_per_second() -> None:
    found = compare_records(offline([200.0, 201.0, 202.0]), offline([100.0, 101.0, 102.0]), interleaved=True)
    assert found.verdict == "faster"
    assert found.comparison is not None
    assert found.comparison.ratio == pytest.approx(0.5, rel=0.01)


def test_a_sweep_shows_every_point_and_each_doubt_once() -> None:
    points = [
        steady(10**7, threads=1, flags=(DOUBT,)),
        steady(5 * 10**6, threads=2, flags=(DOUBT, VOID)),
        record([], threads=4, outcome="incompatible", error="threads_unavailable: two cores", memory=None),
    ]
    lines = points_table(points).splitlines()
    assert lines[1].split()[:3] == ["1", "1", "10.0200"]
    assert lines[2].split()[-1] == "2.00x"
    assert "5.0100 (void)" in lines[2]
    assert lines[3].split() == ["4", "1", "incompatible"]
    text = "\n".join(lines)
    assert text.count("measure when it is idle") == 1
    assert "[1 thread(s), batch 1; 2 thread(s), batch 1]" in text
    assert "threads_unavailable: two cores [4 thread(s), batch 1]" in text


def test_a_record_is_saved_and_found_again(tmp_path: Path) -> None:
    one = steady(10**6)
    save([one], tmp_path / "r.json")
    assert load(tmp_path / "r.json") == one
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    assert json.loads(as_json([one, one]))[1]["variant"] == "onnx-float"


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "is no record"), ('{"a": 1}', "is no record"), ("[]", "holds 0 records"), ("[{}, {}]", "holds 2 records")],
)
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ConfigurationError, match=says):
        load(tmp_path / "r.json")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        save([steady(10**6)], tmp_path / "missing" / "r.json")


def test_an_open_interval_is_null_in_json() -> None:
    """JSON has no infinity."""
    found = compare_records(steady(10**7, processes=1), steady(10**7), interleaved=True)
    said = json.loads(compared_json([found.ours, found.theirs], found))["comparison"]
    assert (said["verdict"], said["upper"], said["detectable_ratio"]) == ("not_enough_data", None, None)
    assert said["processes"] == [5, 1]
