"""Toolkits side by side: the front and its ties, what is claimed of a pick, the state, and what fails or hangs."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.common import repository
from benchmarks.compression.peers.course import NOT_KEPT
from benchmarks.compression.peers.entrants import OURS, PEERS, PROGRAMS, RECIPES, entrants
from benchmarks.compression.peers.environments import CONVERTER, LOCKS, NAMES, missing, python_of
from benchmarks.compression.peers.front import (
    dominates,
    front,
    goal_claims,
    model_claims,
    our_pick,
    run_claims,
    ties,
)
from benchmarks.compression.peers.making import run_program
from benchmarks.compression.peers.photographs import CALIBRATION, TEST
from benchmarks.compression.peers.rows import BASELINE, Row, State, with_times
from benchmarks.compression.peers.subjects import EFFICIENTNET
from controller.compress.shipped import find_recipe
from controller.models.folder import ModelFolder


def row(toolkit: str, setting: str, score: float, wire_bytes: int, time_ratio: float) -> Row:
    return Row(
        "fashion", toolkit, setting, score=score, right=round(score * 2000), samples=2000, seen_score=score,
        sqnr_db=20.0, disk_bytes=2 * wire_bytes, gzip_bytes=wire_bytes, wire_bytes=wire_bytes,
        wire_ratio=wire_bytes / 1000, p50_ms=time_ratio, time_ratio=time_ratio,
        time_low=time_ratio * 0.9, time_high=time_ratio * 1.1,
    )  # fmt: skip


FP32 = row(BASELINE, "as it is", 0.915, 1000, 1.0)
SMALL = row(OURS, "small", 0.913, 250, 0.5)
FAST = row(OURS, "fast", 0.914, 300, 0.4)
LOSING = row(OURS, "losing", 0.6, 50, 0.1)
PEER = row("nncf", "default", 0.914, 260, 0.6)
FAILED = Row("fashion", "olive", "default", because="ValueError: no")


def test_the_front_is_what_nothing_is_better_than() -> None:
    below = row("onnxruntime", "default", 0.913, 251, 0.5)
    assert front([FP32, SMALL, FAST, PEER, below, FAILED]) == [FP32, SMALL, FAST, PEER]
    assert dominates(SMALL, below)
    assert not dominates(SMALL, replace(SMALL, setting="the same numbers"))


def test_the_pick_is_made_on_what_was_seen_alone() -> None:
    """`losing` is the smallest and fastest, and loses on samples that it was made with; test scores do not count."""
    assert our_pick([FP32, SMALL, FAST, LOSING, PEER]) == FAST
    assert our_pick([FP32, replace(SMALL, score=0.1), replace(FAST, time_ratio=0.9)]) == replace(SMALL, score=0.1)
    assert our_pick([FP32, LOSING, replace(LOSING, seen_score=0.7), PEER]) == replace(LOSING, seen_score=0.7)
    assert our_pick([FP32, replace(SMALL, time_ratio=None), PEER]) is None
    assert our_pick([SMALL]) is None


def test_a_tie_is_said_and_is_no_defeat() -> None:
    """A peer that is as accurate and smaller, a little slower, by less than the processes differ."""
    tied = replace(PEER, score=0.914, wire_bytes=300, time_ratio=0.42, time_low=0.38, time_high=0.45)
    assert ties(FAST, tied)
    assert not ties(FAST, replace(tied, time_low=0.45))
    assert not ties(FAST, replace(tied, wire_bytes=301))
    claims = model_claims("fashion", [FP32, FAST, tied])
    assert [each.holds for each in claims] == [True, True]
    assert "as fast within the spread: nncf: default" in claims[1].how


def test_the_same_file_is_a_tie_whatever_the_clock_says() -> None:
    pick, same = replace(FAST, sha256="ab"), replace(FAST, toolkit="nncf", sha256="ab", time_ratio=0.3)
    claims = model_claims("fashion", [FP32, pick, same])
    assert [(each.value, each.holds) for each in claims] == [(0, True), (0, True)]
    assert "as fast within the spread: nncf: fast" in claims[1].how


def test_a_peer_that_is_as_good_in_everything_is_named() -> None:
    equal = replace(FAST, toolkit="torchao", setting="x86")
    claims = model_claims("fashion", [FP32, FAST, equal, PEER])
    assert [(each.value, each.holds) for each in claims] == [(0, True), (1, False)]  # equal does not dominate
    better = replace(equal, wire_bytes=299)
    claims = model_claims("fashion", [FP32, FAST, better])
    assert [(each.value, each.holds) for each in claims] == [(1, False), (1, False)]
    assert "torchao: x86" in claims[0].how
    assert "torchao: x86" in claims[1].how


def test_without_a_pick_nothing_holds() -> None:
    assert [each.holds for each in model_claims("fashion", [FP32, PEER])] == [False, False]


def test_goals_without_labels_count_those_that_fp32_is_sure_of() -> None:
    pick = replace(SMALL, model=EFFICIENTNET, score=0.94, sure=198, sure_samples=200, wire_ratio=0.24, time_ratio=0.5)
    assert [each.holds for each in goal_claims(pick)] == [True, True, True, True, False]
    assert [each.holds for each in goal_claims(replace(pick, sure=197))][2] is False


def test_a_cell_is_a_number_or_a_reason() -> None:
    held = run_claims([FP32, FAILED, replace(PEER, time_ratio=None, untimed="not timed: two inputs")])
    assert [each.holds for each in held] == [True, True]
    lacking = [replace(PEER, time_ratio=None), replace(FAILED, because=missing("olive"))]
    assert [each.holds for each in run_claims(lacking)] == [False, False]
    assert not run_claims([replace(FAILED, because=NOT_KEPT)])[1].holds


def test_the_state_gives_back_what_was_kept(tmp_path: Path) -> None:
    state, kept = State(tmp_path), replace(PEER, file="a.onnx", notes=("one",))
    state.keep("key", kept)
    state.keep("failed", FAILED)
    assert State(tmp_path).row("key") is None  # its file is gone: it is made again
    state.file("a.onnx").write_bytes(b"model")
    assert State(tmp_path).row("key") == kept
    assert State(tmp_path).row("failed") == FAILED
    assert State(tmp_path).row("other") is None
    state.keep_times("times", [{"time_ratio": 1.0}, {"time_ratio": 0.25}])
    times = State(tmp_path).times("times")
    assert times is not None
    assert [each.time_ratio for each in with_times([FP32, FAILED, PEER], times)] == [1.0, None, 0.25]


PROGRAM = """\
import os, sys, time
from pathlib import Path
from benchmarks.compression.peers.programs.frame import carry_out


def compress(order):
    how = order["setting"]["how"]
    if how == "raises":
        raise ValueError("no such operator\\nin /some/folder/model.onnx")
    if how == "dies":
        os.abort()
    if how == "leaves":
        sys.exit(3)
    if how == "hangs":
        time.sleep(600)
    if how == "writes":
        Path(order["out"]).write_bytes(b"model")
        return ["a note"]


if __name__ == "__main__":
    sys.exit(carry_out(compress))
"""


@pytest.mark.parametrize(
    ("how", "because"),
    [
        ("raises", "ValueError: no such operator; in model.onnx"),
        ("dies", "it ended with signal 6"),
        ("leaves", "it ended with exit code 3"),
        ("hangs", "it did not end within 1 s and was stopped"),
        ("forgets", "FileNotFoundError: it ended without an error and without a file"),
        ("writes", ""),
    ],
)
def test_a_program_that_fails_or_hangs_is_a_row(
    how: str, because: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `-P -m` finds modules of the interpreter's own path and of PYTHONPATH alone.
    (tmp_path / "toolkit.py").write_text(PROGRAM)
    around = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(tmp_path), str(repository())])}
    monkeypatch.setattr("benchmarks.compression.peers.making.child_environment", lambda: around)
    (tmp_path / "scratch").mkdir()
    order = {"out": str(tmp_path / "out.onnx"), "folder": str(tmp_path / "scratch"), "setting": {"how": how}}
    came = run_program(Path(sys.executable), "toolkit", order, 1.0 if how == "hangs" else 60.0)
    assert came.because.startswith(because) if because else came.because == ""
    assert came.took_s is not None
    if how == "writes":
        assert (tmp_path / "out.onnx").read_bytes() == b"model"
        assert came.notes == ("a note",)
        assert came.peak_bytes is not None
        assert came.peak_bytes >= (came.base_bytes or 0) > 0


def test_every_environment_has_a_lock_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert {path.stem for path in LOCKS.glob("*.txt")} == set(NAMES)
    for name in NAMES:
        pinned = [line for line in (LOCKS / f"{name}.txt").read_text().splitlines() if "==" in line]
        assert pinned, name
        assert "--hash=sha256:" in (LOCKS / f"{name}.txt").read_text()
        assert python_of(name, tmp_path) is None
        assert f"install {name} --folder" in missing(name)
    assert "controller model converters install" in missing(CONVERTER)


def test_an_environment_of_another_lock_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "nncf" / "bin").mkdir(parents=True)
    (tmp_path / "nncf" / "bin" / "python").touch()
    (tmp_path / "nncf" / "complete.txt").write_text("another")
    assert python_of("nncf", tmp_path) is None


def test_every_entrant_can_be_asked() -> None:
    programs = repository() / PROGRAMS.replace(".", "/")
    for each in (*PEERS, *RECIPES):
        assert (programs / f"{each.program}.py").is_file()
        assert json.loads(json.dumps(each.document)) == each.document
    for each in RECIPES:
        assert each.form in find_recipe(each.setting["recipe"]).formats
    assert len({(each.toolkit, each.name) for each in (*PEERS, *RECIPES)}) == len(PEERS) + len(RECIPES)
    two = [each.toolkit for each in PEERS]
    assert all(two.count(toolkit) >= 2 for toolkit in two)  # a default, and a better setting


def test_a_model_without_torch_is_not_offered_to_torch() -> None:
    models = repository() / "models"
    with_torch, without = (
        entrants(ModelFolder.load(models / name), quick=False) for name in ("fashion", "soil_carbon")
    )
    assert "torchao" in {each.toolkit for each in with_torch}
    soil = ModelFolder.load(models / "soil_carbon")
    assert ("torchao" in {each.toolkit for each in without}) == (soil.spec.torch is not None)


def test_photographs_that_judge_are_others_than_those_that_calibrate() -> None:
    assert not set(CALIBRATION) & set(TEST)
    assert len(set(TEST)) == len(TEST)
