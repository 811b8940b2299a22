"""The kernels' benchmark: whose calls count, what is said of a goal that was missed, and peers that are not there."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from agent.warm import ensure_warm
from benchmarks.kernel_parts import audio, boxes, image, series
from benchmarks.kernel_parts.timing import Profile, Timed, held, interleaved, timed

PROFILE = Profile({"sums": 0.003, "writing": 0.002}, {"reading": 0.001, "filling": 0.001})


@pytest.fixture
def _warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(ensure_warm()))


def scripted(times_s: Iterator[float], order: list[str], name: str) -> Timed:
    def call() -> float:
        order.append(name)
        return next(times_s)

    return call


def test_calls_take_turns_and_neither_first_calls_nor_the_first_round_count() -> None:
    order: list[str] = []
    ours = scripted(iter([9.0, 9, 9, 9, 8, 1, 2, 3, 8, 4, 5, 6]), order, "a")
    peer = scripted(iter([9.0] * 8 + [7.0] * 4), order, "b")
    assert interleaved([ours, peer], rounds=2, turn=4, cold=1) == [3.5, 8.0]
    assert "".join(order) == "aaaabbbb" * 3


def test_a_call_is_timed_while_it_runs() -> None:
    ran: list[int] = []
    taken_s = timed(lambda: ran.append(1))()
    assert ran == [1]
    assert taken_s > 0


def test_a_goal_that_was_reached_needs_no_profile() -> None:
    claim = held("a ratio", (0.005, 0.05), 10.0, "the same bits", PROFILE)
    assert (claim.value, claim.unit, claim.goal, claim.holds) == (10.0, "x", ">= 10", True)
    assert claim.how == "medians of processor time, 5.000 ms against 50.000 ms; the same bits"


def test_one_that_was_not_comes_with_profile_bound_and_rest() -> None:
    claim = held("a ratio", (0.005, 0.04), 10.0, "the same bits", PROFILE)
    assert not claim.holds
    assert (
        "profile: sums 3.000 ms, writing 2.000 ms; bound: reading 1.000 ms, filling 1.000 ms: 20.0 x at most"
        in claim.how
    )
    assert claim.how.endswith("3.000 ms remain")
    assert "bound" not in held("a ratio", (1.0, 2.0), 10.0, "", Profile({"all": 1.0})).how


@pytest.mark.usefixtures("_warm")
@pytest.mark.parametrize("hop", [1, 16, 64])
def test_windows_are_held_against_numpy_s_which_are_the_same(hop: int) -> None:
    setting = series.Setting("a short one", 2, 600, 64, hop)
    claim = series.against_numpy(setting, rounds=1)
    assert claim.value is not None
    assert "differ by at most" in claim.how
    assert float(claim.how.split("differ by at most ")[1].split(";")[0]) < 1e-6
    series.kernels_alone(setting, np.ones((2, 600)))()


@pytest.mark.usefixtures("_warm")
def test_suppression_is_timed_step_by_step() -> None:
    kept, steps = boxes.suppression(*boxes.SCENES[2].boxes())
    assert 0 < len(kept()) < boxes.BOXES
    claim = boxes.suppressed("x", boxes.SCENES[2].boxes(), 1e9, (timed(lambda: None), kept()), rounds=1)
    assert all(step in claim.how for step in steps)
    assert "0 on one side alone" in claim.how


@pytest.mark.usefixtures("_warm")
def test_transforms_alone_are_those_of_the_features() -> None:
    pre = audio.SETTINGS[1].pre(1600)
    assert audio.transforms_alone(pre, audio.sound(pre))().shape[1] == pre.fft_length // 2 + 1
    assert audio.prepared_call(pre, audio.sound(pre))().size > 0


def test_peers_that_are_not_there_leave_their_claims_unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(boxes.TORCHVISION_PYTHON, raising=False)
    claim = boxes.against_torchvision(boxes.SCENES[0], 1)
    assert (claim.value, claim.holds) == (None, False)
    assert boxes.TORCHVISION_PYTHON in claim.how
    for part in (audio, boxes, image):
        monkeypatch.setattr(part.importlib.util, "find_spec", lambda _: None)
    missing = [
        *image.against_opencv(image.SETTINGS[0], "", {}, 1),
        boxes.against_opencv(boxes.SCENES[0], 1),
        *audio.against_librosa(audio.SETTINGS[0], 1, 1),
        audio.against_kaldi(1, 1),
    ]
    assert [claim.value for claim in missing] == [None] * 6
    assert all("is not installed" in claim.how for claim in missing)


@pytest.mark.usefixtures("_warm")
def test_an_interpreter_without_torchvision_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(boxes.TORCHVISION_PYTHON, f"{sys.executable}-of-nobody")
    claim = boxes.against_torchvision(boxes.SCENES[0], 1)
    assert claim.value is None
    assert f"{sys.executable}-of-nobody" in claim.how
