"""The command `agent bench`: what goes together, what it leaves, and how it ends."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from agent.bench.comparing import compare_records
from agent.bench.progress import shown
from agent.bench.saved import save
from agent.cli.bench import _check_verdict, command
from agent.errors import NoVerdict, Slower
from agent.warm import ensure_warm
from tests.unit.agent.bench.bench_kit import steady
from tests.unit.agent.inference import bundle_kit as kit


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
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(tmp_path: Path, options: list[str], says: str) -> None:
    kit.write_bundle(tmp_path / "b")
    found = run(tmp_path / "b", *options)
    assert found.exit_code == 2
    assert says in " ".join(found.output.split())


def test_two_bundles_are_measured_in_turns_and_left_in_a_file(tmp_path: Path) -> None:
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
    assert places == list(range(len(places)))  # one after the other, in turns
    ours_at, theirs_at = ([each["order"] for each in one["replicates"]] for one in (ours, theirs))
    assert min(theirs_at) == 0
    assert max(theirs_at) > min(ours_at)
    assert json.loads((tmp_path / "r.json").read_text()) == [ours, theirs]
    assert "process 1: onnx-float other" in found.stderr


def test_a_saved_record_that_is_none_ends_before_anything_is_measured(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    save([steady(10**6), steady(10**6)], tmp_path / "two.json")
    found = run(tmp_path / "b", "--compare", tmp_path / "two.json")
    assert "holds 2 records" in str(found.exception)


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
