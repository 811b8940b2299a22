"""The command `agent bench`: what goes together, what it leaves, and how it ends."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from agent.bench import BenchOptions
from agent.bench.comparing import compare_records
from agent.bench.progress import shown
from agent.bench.saved import save
from agent.cli.bench import _check_verdict, command
from agent.errors import ConfigurationError, NoVerdict, Slower, SpeedVoid
from agent.measure.session import MeasureContext
from agent.warm import ensure_warm
from tests.unit.agent.bench.bench_kit import VOID, steady
from tests.unit.agent.inference import bundle_kit as kit
from wire.trial import TrialRecord


def run(*arguments: object) -> Any:
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--batch", "2"], "--batch belongs to --scenario offline, not to single_stream"),
        (["--rate-hz", "5"], "--rate-hz belongs to --scenario server"),
        (["--scenario", "paced", "--streams", "2"], "--streams belongs to --scenario multi_stream, not to paced"),
        (["--bound-ms", "2"], "--bound-ms belongs to --scenario server and paced"),
        (["--threads", "0"], "whole numbers from 1 to 256"),
        (["--threads", "1,,2"], "whole numbers from 1 to 256"),
        (["--threads", "2,2"], "a number stands twice"),
        (["--scenario", "offline", "--batch", "2048"], "whole numbers from 1 to 1024"),
        (["--threads", "1,2", "--compare", "."], "--compare takes one point"),
        (["--interleaving", "processes"], "--interleaving belongs to --compare with a bundle's folder"),
        (
            ["--scenario", "paced", "--compare", ".", "--interleaving", "lock-step"],
            "belongs to --scenario single_stream",
        ),
        (["--scenario", "server", "--rate-hz", "nan"], "nan: a finite number is expected"),
        (["--scenario", "server", "--rate-hz", "-1"], "is not in the range"),
        (["--scenario", "paced", "--period-ms", "nan"], "nan: a finite number is expected"),
        (["--scenario", "paced", "--bound-ms", "nan"], "nan: a finite number is expected"),
        (["--scenario", "paced", "--bound-ms", "inf"], "inf: a finite number is expected"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(tmp_path: Path, options: list[str], says: str) -> None:
    kit.write_bundle(tmp_path / "b")
    found = run(tmp_path / "b", *options)
    assert found.exit_code == 2
    assert says in " ".join(found.output.split())


def turns_of(record: dict[str, Any], number: int) -> list[tuple[int, int]]:
    """Return begin and end of each turn of a round, on the clock that all processes share [ns]."""
    process = TrialRecord.model_validate(record).replicates[number]
    told, samples, found = process.conditions["lock_step"], process.total_ns.unpack(), []
    for begin_us, rewarm_ns, count in zip(told["begin_us"], told["rewarm_ns"], told["samples"], strict=True):
        begin = process.conditions["timed_begin_ns"] + 1000 * begin_us
        spent = sum(samples[:count]) * process.conditions["calls_per_sample"]
        samples = samples[count:]
        found.append((begin, begin + rewarm_ns + spent))
    return found


def test_two_bundles_are_measured_in_lock_step_and_left_in_a_file(tmp_path: Path) -> None:
    """One bundle against itself: whatever the machine does meanwhile, both sides have it."""
    ensure_warm()
    kit.write_bundle(tmp_path / "b")
    found = run(tmp_path / "b", "--compare", tmp_path / "b", "--grade", "quick", "--json", "--out", tmp_path / "r.json")
    said = json.loads(found.stdout)
    assert said["comparison"]["interleaved"] is True
    assert said["comparison"]["verdict"] in ("faster", "slower", "no_difference_seen", "not_enough_data", "no_verdict")
    ours, theirs = said["records"]
    assert (ours["trial"], theirs["trial"]) == ("bench", "other")
    places = sorted(each["order"] for one in (ours, theirs) for each in one["replicates"])
    assert places == list(range(len(places)))
    assert len(said["comparison"]["round_ratios"]) == len(ours["replicates"]) == len(theirs["replicates"]) >= 3
    assert {one["conditions"]["interleaving"] for one in (ours, theirs)} == {"lock-step"}
    for number in range(len(ours["replicates"])):
        both = [*((turn, "a") for turn in turns_of(theirs, number)), *((turn, "b") for turn in turns_of(ours, number))]
        both.sort()
        sides = "".join(side for _, side in both)
        assert sides == (("abba" if number % 2 == 0 else "baab") * len(sides))[: len(sides)]
        assert len(sides) % 4 == 0
        assert all(one[1] <= other[0] for (one, _), (other, _) in pairwise(both)), "only one may run at any time"
    assert json.loads((tmp_path / "r.json").read_text()) == [ours, theirs]
    assert "process 1: onnx-float other" in found.stderr


def test_two_bundles_go_process_by_process_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kit.write_bundle(tmp_path / "b")
    seen: list[str] = []

    def group(_: Any, __: Any, ___: Any, context: MeasureContext, ____: Any) -> list[TrialRecord]:
        seen.append(context.interleaving)
        return [steady(10**6), steady(10**6)]

    monkeypatch.setattr("agent.bench.measuring.measure_group", group)
    for options in ([], ["--interleaving", "processes"], ["--scenario", "offline"]):
        run(tmp_path / "b", "--compare", tmp_path / "b", *options)
    assert seen == ["lock-step", "processes", "processes"]


def test_a_saved_record_that_is_none_ends_before_anything_is_measured(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    save([steady(10**6), steady(10**6)], tmp_path / "two.json")
    found = run(tmp_path / "b", "--compare", tmp_path / "two.json")
    assert "holds 2 records" in str(found.exception)


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        ({"scenario": "offline"}, "the scenarios differ (single_stream and offline)"),
        ({"outcome": "failed", "error": "worker_crashed"}, "the other was not measured"),
        ({"flags": (VOID,)}, "the speed of the other is void (probe_invalid)"),
    ],
)
def test_a_saved_record_that_allows_no_verdict_ends_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: dict[str, Any], says: str
) -> None:
    kit.write_bundle(tmp_path / "b")
    save([steady(10**6, **saved)], tmp_path / "r.json")
    monkeypatch.setattr("agent.bench.bench", lambda *_: pytest.fail("measured"))
    found = run(tmp_path / "b", "--compare", tmp_path / "r.json")
    assert isinstance(found.exception, NoVerdict)
    assert "nothing was measured: " in str(found.exception)
    assert says in str(found.exception)


def test_a_place_where_no_file_can_be_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kit.write_bundle(tmp_path / "b")
    monkeypatch.setattr("agent.bench.bench", lambda *_: pytest.fail("measured"))
    found = run(tmp_path / "b", "--out", tmp_path / "missing" / "r.json")
    assert isinstance(found.exception, ConfigurationError)
    assert "there is no folder" in str(found.exception)


def test_a_record_that_could_not_be_written_is_printed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kit.write_bundle(tmp_path / "b")

    def fill_the_disk(*_: Any) -> TrialRecord:
        (tmp_path / "r.json").mkdir()
        return steady(10**6)

    monkeypatch.setattr("agent.bench.bench", fill_the_disk)
    found = run(tmp_path / "b", "--out", tmp_path / "r.json", "--json")
    assert isinstance(found.exception, ConfigurationError)
    assert json.loads(found.stdout)["variant"] == "onnx-float"


def test_with_a_configuration_it_measures_as_that_agent_would(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    (tmp_path / "agent.yaml").write_text(
        "{fleet: yard, device: barn-1, trusted_keys: {'0123456789abcdef': " + "A" * 43 + "=}, state_dir: state, "
        "threads: 3, memory_cap_bytes: 268435456, emulated: true, engines_allowed: [litert], host_lock: lock, "
        "workers: {nice: 7, cores: [0]}}"
    )
    seen: list[BenchOptions] = []

    def look(_: Path, options: BenchOptions, __: object) -> TrialRecord:
        seen.append(options)
        return steady(10**6)

    monkeypatch.setattr("agent.bench.bench", look)
    run(tmp_path / "b", "--config", tmp_path / "agent.yaml")
    run(tmp_path / "b", "--config", tmp_path / "agent.yaml", "--threads", "2")
    own, other = (options.context for options in seen)
    assert (own.fleet, own.device, own.threads, own.memory_cap_bytes) == ("yard", "barn-1", 3, 268435456)
    assert (own.emulated, own.engines_allowed, own.lock_path) == (True, ("litert",), tmp_path / "lock")
    assert own.workers is not None
    assert (own.workers.nice, own.workers.cores, own.work_dir) == (7, (0,), None)
    assert other.threads == 2
    assert not (tmp_path / "state").exists()


def test_the_verdict_becomes_the_exit_code() -> None:
    fast, slow = steady(9 * 10**6), steady(10**7)
    _check_verdict(compare_records(fast, slow, interleaved=True))
    _check_verdict(compare_records(slow, slow, interleaved=True))
    with pytest.raises(Slower) as slower:
        _check_verdict(compare_records(slow, fast, interleaved=True))
    with pytest.raises(NoVerdict) as none:
        _check_verdict(compare_records(steady(10**6, processes=2), slow, interleaved=True))
    assert (slower.value.exit_code, none.value.exit_code) == (15, 16)


def test_progress_is_a_line_an_event_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as listener:
        listener("replicate", {"trial": "bench-t2", "variant": "onnx-float", "place": 0})
        listener("trial", {"trial": "bench", "variant": "onnx-float", "outcome": "measured"})
        listener("an event of a later release", {})
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["process 1: onnx-float t2", "onnx-float: measured"]


def test_every_option_is_in_the_help() -> None:
    context = click.Context(command)
    assert {"scenario", "threads", "batch", "other", "out", "profile"} <= {each.name for each in command.params}
    assert "16 where there is no verdict" in " ".join(command.get_help(context).split())


def test_a_speed_that_is_not_valid_is_printed_and_has_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kit.write_bundle(tmp_path / "b")
    void, good = steady(10**6, flags=(VOID,)), steady(10**6)
    monkeypatch.setattr("agent.bench.bench", lambda *_: void)
    found = run(tmp_path / "b")
    assert isinstance(found.exception, SpeedVoid)
    assert found.exception.exit_code == 16
    assert "NOT VALID: probe_invalid" in found.stdout
    for records, ends in (([void, good], 0), ([void, void], 16)):
        monkeypatch.setattr("agent.bench.bench_points", lambda *_, kept=records: kept)
        swept = run(tmp_path / "b", "--threads", "1,2")
        assert getattr(swept.exception, "exit_code", swept.exit_code) == ends, swept.output
