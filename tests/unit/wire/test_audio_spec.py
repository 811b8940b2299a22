"""Specifications of audio features: what each convention means by a key that is left out, and what contradicts."""

from typing import Any

import pytest
from pydantic import ValidationError

from wire.base import decode, encode
from wire.spec import AudioPre


def specified(**keys: Any) -> AudioPre:
    return AudioPre.model_validate({"samples": 16_000, "input": {"name": "x", "shape": (-1, -1, -1)}, **keys})


def test_kaldi_has_its_own_defaults_and_they_cross_the_wire() -> None:
    pre = specified(convention="kaldi")
    found = (pre.window, pre.log, pre.low_hz, pre.floor, pre.layout, pre.mel_scale, pre.mel_norm, pre.centre)
    assert found == ("povey", "natural", 20.0, 2.0**-23, "NTF", "htk", "none", False)
    assert decode(AudioPre, encode(pre)) == pre


def test_a_key_that_is_given_stays() -> None:
    pre = specified(convention="kaldi", window="hamming", low_hz=0.0, layout="NFT")
    assert (pre.window, pre.low_hz, pre.layout, pre.log) == ("hamming", 0.0, "NFT", "natural")


@pytest.mark.parametrize(
    ("keys", "frames", "bins"),
    [
        ({}, 101, 80),
        ({"drop_last": True}, 100, 80),
        ({"centre": False}, 97, 80),
        ({"convention": "kaldi"}, 98, 80),
        ({"features": "power"}, 101, 257),
        ({"features": "mfcc"}, 101, 13),
        ({"samples": 512, "centre": False}, 1, 80),
        ({"samples": 400, "convention": "kaldi"}, 1, 80),
    ],
)
def test_frames_and_bins_are_counted(keys: dict[str, Any], frames: int, bins: int) -> None:
    pre = specified(**keys)
    assert (pre.frames, pre.bins) == (frames, bins)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"window_length": 600}, "shorter than window_length"),
        ({"low_hz": 9000.0}, r"low_hz \+ 1 <= high_hz <= 8000"),
        ({"high_hz": 8001.0}, r"low_hz \+ 1 <= high_hz <= 8000"),
        ({"features": "mfcc", "coefficients": 81}, "81 coefficients of 80 mel bins"),
        ({"window": "povey"}, "belongs to convention kaldi"),
        ({"convention": "kaldi", "mel_scale": "slaney"}, "mel_scale htk and mel_norm none"),
        ({"convention": "kaldi", "samples": 399}, "399 samples give no frame of 400"),
        ({"centre": False, "samples": 511}, "511 samples give no frame of 512"),
        ({"samples": 159, "drop_last": True}, "159 samples give no frame"),
        ({"samples": 256, "pad_mode": "reflect"}, "cannot be reflected over a margin of 256"),
        ({"samples": 10_000_000, "hop_length": 1}, "values"),
        ({"low_hz": 100.0, "high_hz": 100.5}, r"low_hz \+ 1 <= high_hz"),
        ({"floor": 0.0}, "floor"),
        ({"floor": float("inf")}, "floor"),
        ({"lifter": float("inf")}, "lifter"),
        ({"full_scale": float("nan")}, "full_scale"),
    ],
)
def test_what_contradicts_is_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        specified(**keys)
