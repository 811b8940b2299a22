"""The audio kernels against plain numpy in float64, over the whole specification."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.inference.pre import Place, make_pre
from tests.unit.agent.inference.audio.audio_kit import features, reference, specified, tone
from wire import spec

AMPLITUDE_TOLERANCE_RATIO = 3e-6
"""Of the largest amplitude: float32's 6e-8, times what a transform of some hundred points adds up."""


@st.composite
def specifications(draw: st.DrawFn, /, **fixed: Any) -> spec.AudioPre:
    """Small specifications of both conventions, with transforms of our own and of numpy's."""
    kaldi, length = draw(st.booleans()), draw(st.sampled_from([32, 64, 128, 256, 40, 54, 90, 44, 75]))
    keys: dict[str, Any] = {
        "convention": "kaldi" if kaldi else "librosa",
        "fft_length": length,
        "window_length": draw(st.integers(length // 2, length)),
        "hop_length": draw(st.integers(1, length)),
        "samples": draw(st.integers(length, 400)),
        "window": draw(st.sampled_from(["hann", "hamming", "povey"] if kaldi else ["hann", "hamming"])),
        "centre": draw(st.booleans()),
        "pad_mode": draw(st.sampled_from(["zero", "reflect"])),
        "mel_bins": draw(st.integers(1, 20)),
        "low_hz": draw(st.sampled_from([0.0, 100.0])),
        "high_hz": draw(st.sampled_from([None, 5000.0])),
        "layout": draw(st.sampled_from(["NFT", "NTF"])),
        "features": draw(st.sampled_from(["power", "mel"])),
    }
    if not kaldi:
        keys["mel_scale"] = draw(st.sampled_from(["slaney", "htk"]))
        keys["mel_norm"] = draw(st.sampled_from(["area", "none"]))
    return specified(**{**keys, **fixed})


def assert_amplitudes_close(found: Any, expected: Any) -> None:
    """Energies are compared by their roots: an error of the transform adds to amplitudes."""
    found, expected = np.sqrt(found.astype(np.float64)), np.sqrt(expected.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=AMPLITUDE_TOLERANCE_RATIO * max(expected.max(), 1e-9))


@settings(max_examples=60, deadline=None)
@given(specifications(log="none"), st.integers(0, 99))
def test_energies_are_those_of_plain_numpy(pre: spec.AudioPre, seed: int) -> None:
    query = tone(pre.samples, seed=seed)
    assert_amplitudes_close(features(pre, query), reference(pre, query))


@settings(max_examples=40, deadline=None)
@given(specifications(floor=1e-2), st.sampled_from(["db", "natural"]), st.sampled_from([0.0, 30.0]))
def test_logarithms_are_those_of_plain_numpy(pre: spec.AudioPre, log: str, top_db: float) -> None:
    pre = pre.model_copy(update={"log": log, "top_db": top_db})
    query = tone(pre.samples)
    np.testing.assert_allclose(features(pre, query), reference(pre, query), rtol=1e-5, atol=5e-3)


@settings(max_examples=30, deadline=None)
@given(specifications(floor=1e-2, features="mfcc", mel_bins=20, coefficients=13), st.sampled_from([0.0, 22.0]))
def test_coefficients_are_those_of_plain_numpy(pre: spec.AudioPre, lifter: float) -> None:
    pre = pre.model_copy(update={"lifter": lifter})
    query = tone(pre.samples)
    np.testing.assert_allclose(features(pre, query), reference(pre, query), rtol=1e-4, atol=2e-2)


LENGTHS = [
    *(2**exponent for exponent in range(1, 15)),
    3,
    6,
    10,
    14,
    18,
    30,
    31,
    50,
    320,
    400,
    480,
    960,
    1200,
    1470,
    3750,
]
"""Of every mixture of our own steps, and some that numpy transforms."""


@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_of_transform_gives_the_spectrum(length: int) -> None:
    pre = specified(
        features="power", log="none", samples=3 * length, fft_length=length, window_length=length, hop_length=length
    )
    query = np.random.default_rng(length).normal(size=pre.samples).astype(np.float32)
    assert_amplitudes_close(features(pre, query), reference(pre, query))


def test_a_frame_of_silence_beside_a_loud_one_stays_at_the_floor() -> None:
    pre = specified(samples=6400, centre=False, top_db=0)
    query = np.where(np.arange(6400) < 3200, 0.0, 1e3 * np.sin(np.arange(6400.0)))
    found = features(pre, query)
    assert (found[:, :15] == np.float32(-100.0)).all()
    assert found[:, 25:].max() > 60


def test_silence_is_the_floor_in_every_bin() -> None:
    for convention, floor in (("librosa", -100.0), ("kaldi", np.log(2.0**-23))):
        found = features(specified(samples=1600, convention=convention), np.zeros(1600))
        np.testing.assert_allclose(found, floor, rtol=1e-6)


def test_kaldi_takes_no_notice_of_an_offset() -> None:
    pre = specified(samples=4000, convention="kaldi")
    np.testing.assert_allclose(features(pre, tone(4000) + 0.5), features(pre, tone(4000)), atol=2e-3)


def test_full_scale_shifts_the_logarithm() -> None:
    quiet, loud = specified(samples=1600, top_db=0), specified(samples=1600, top_db=0, full_scale=32768.0)
    shift = 20 * np.log10(32768.0)
    np.testing.assert_allclose(features(loud, tone(1600)) - features(quiet, tone(1600)), shift, atol=1e-3)


@pytest.mark.parametrize("convention", ["librosa", "kaldi"])
def test_frames_can_be_normalised_per_bin(convention: str) -> None:
    pre = specified(samples=3200, convention=convention, layout="NFT", normalise={"method": "z_score"})
    found = features(pre, tone(3200))
    np.testing.assert_allclose(found.mean(axis=1), 0.0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=1), 1.0, atol=1e-3)
    np.testing.assert_allclose(found, reference(pre, tone(3200)), atol=5e-3)


def test_the_last_frame_can_be_left_out() -> None:
    kept, cut = specified(samples=1600, top_db=0), specified(samples=1600, top_db=0, drop_last=True)
    np.testing.assert_array_equal(features(cut, tone(1600)), features(kept, tone(1600))[:, :-1])


def test_a_query_does_not_change_the_next_one() -> None:
    pre = specified(samples=1600, resize="pad", pad_mode="reflect")
    made = make_pre(pre, Place({"x": pre.input.shape}))
    before = made.prepare(tone(1600)).copy()
    made.prepare(tone(700, seed=5) * 9)
    np.testing.assert_array_equal(made.prepare(tone(1600)), before)
