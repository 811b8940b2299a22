"""Numbers that a specification may not hold: each refusal says what is expected and what was given."""

import json
import re
from typing import Any

import pytest

from wire.base import Message, decode, encode
from wire.errors import MalformedMessage
from wire.spec import (
    AudioPre,
    ClassificationPost,
    DetectionPost,
    ImagePre,
    MinMax,
    Quantisation,
    RegressionPost,
    Robust,
    SeriesPre,
    TablePre,
    TensorPre,
    TensorSpec,
    TextPre,
    ZScore,
)
from wire.spec.audio import LOUDEST
from wire.spec.base import LARGEST_SINGLE, LARGEST_VALUES, LEAST_SINGLE

NAN, INFINITE = float("nan"), float("inf")
X: dict[str, Any] = {"name": "x", "shape": [-1, 3, 8, 8]}
WHOLE: dict[str, Any] = {"name": "x", "shape": [-1, 3], "dtype": "int64"}
TRAINED: dict[str, Any] = {"statistics": "training"}
SCALE: dict[str, Any] = {"scale": 0.5, "zero_point": 0}
SOUND: dict[str, Any] = {"samples": 16_000, "input": {"name": "x", "shape": [-1, -1, -1]}}
PICTURE: dict[str, Any] = {"height": 8, "width": 8, "input": X}


def refusal(kind: type[Message], document: dict[str, Any]) -> str:
    with pytest.raises(MalformedMessage) as refused:
        decode(kind, json.dumps(document).encode())
    return str(refused.value)


@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
@pytest.mark.parametrize(
    ("kind", "key", "rest"),
    [
        (ZScore, "epsilon", {}),
        (ZScore, "mean", {}),
        (ZScore, "deviation", {}),
        (MinMax, "low", {}),
        (MinMax, "high", {}),
        (MinMax, "minimum", {}),
        (MinMax, "maximum", {}),
        (Robust, "median", {}),
        (Robust, "interquartile_range", {}),
        (Quantisation, "scale", {"zero_point": 0}),
        (ImagePre, "scale", PICTURE),
        (ImagePre, "mean", PICTURE),
        (ImagePre, "deviation", PICTURE),
        (AudioPre, "top_db", SOUND),
        (AudioPre, "high_hz", SOUND),
        (AudioPre, "pre_emphasis", SOUND),
        (RegressionPost, "scale", {"output": X}),
        (RegressionPost, "offset", {"output": X}),
        (ClassificationPost, "threshold", {"output": X}),
        (DetectionPost, "score_threshold", {"output": X}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_no_finite_number_is_refused_with_it(
    kind: type[Message], key: str, rest: dict[str, Any], value: float
) -> None:
    several = key in ("mean", "deviation", "minimum", "maximum", "median", "interquartile_range", "offset") or (
        kind is RegressionPost
    )
    text = refusal(kind, {**rest, key: [value] if several else value})
    assert re.search(rf"{key}.*(finite number|greater than).*given {value}", text)


@pytest.mark.parametrize(
    ("kind", "document", "says"),
    [
        (ZScore, {**TRAINED, "mean": [0, 0], "deviation": [1, -2]}, r"deviation\.1.*from 0 to 1e\+100.*-2 is given"),
        (ZScore, {"epsilon": 0}, r"epsilon.*from 1e-100 to 1e\+100.*0 is given"),
        (ZScore, {"epsilon": -1.0}, "epsilon.*-1 is given"),
        (ZScore, {"mean": [1e101]}, r"mean\.0.*1e\+101 is given"),
        (Robust, {"interquartile_range": [-0.5]}, r"interquartile_range\.0.*-0\.5 is given"),
        (MinMax, {"low": 2.0, "high": 1.0}, r"low \(2\.0\) must be less than high \(1\.0\)"),
        (MinMax, {"high": 1e39}, r"high.*3\.40282e\+38.*1e\+39 is given"),
        (MinMax, {**TRAINED, "minimum": [1, 5], "maximum": [2, 4]}, r"minimum\[1\] is 5\.0, maximum\[1\] is 4\.0"),
        (Quantisation, {"scale": 0, "zero_point": 0}, r"scale.*from 1\.17549e-38.*0 is given"),
        (Quantisation, {"scale": 1e-45, "zero_point": 0}, "scale.*1e-45 is given"),
        (TensorSpec, {"name": "x", "shape": [-1, -5]}, r"\(-1, -5\): each axis is from 1 to 2147483647, or -1"),
        (TensorSpec, {"name": "x", "shape": [-1, 0]}, r"\(-1, 0\)"),
        (TensorSpec, {"name": "x", "shape": [2**31]}, r"\(2147483648,\)"),
        (
            TensorSpec,
            {**X, "dtype": "int8", "quantisation": {**SCALE, "zero_point": 128}},
            "zero point of 'x' is 128: int8 has -128 to 127",
        ),
        (
            TensorSpec,
            {**X, "dtype": "uint8", "quantisation": {**SCALE, "zero_point": -1}},
            "zero point of 'x' is -1: uint8 has 0 to 255",
        ),
        (TensorSpec, {**X, "dtype": "int32", "quantisation": SCALE}, "int32 is never quantised"),
        (SeriesPre, {"channels": 1, "length": 3, "input": WHOLE}, "goes into float32.*uint8, the input 'x' is int64"),
        (TablePre, {"features": 3, "input": {**WHOLE, "dtype": "int32"}}, "the input 'x' is int32"),
        (AudioPre, {**SOUND, "input": {**SOUND["input"], "dtype": "int32"}}, "the input 'x' is int32"),
        (ImagePre, {**PICTURE, "input": {**X, "dtype": "int64"}}, "a picture goes into.*the input 'x' is int64"),
        (ImagePre, {**PICTURE, "deviation": [0.0]}, r"above 0 in every channel, is \(0\.0,\)"),
        (ImagePre, {**PICTURE, "deviation": [1e-300]}, "more than float32 holds"),
        (TextPre, {"length": 3, "pad_id": 2**31, "input": {**WHOLE, "dtype": "int32"}}, "pad_id is 2147483648.*int32"),
        (TextPre, {"length": 3, "pad_id": 2**63, "input": WHOLE}, "pad_id.*given 9223372036854775808"),
        (TextPre, {"length": 3, "pad_id": -1, "input": WHOLE}, "pad_id.*given -1"),
        (SeriesPre, {"channels": 1024, "length": 1_000_000, "input": X}, "1024 x 1000000 numbers are 1024000000"),
        (
            SeriesPre,
            {"channels": 16, "length": 600_000, "resize": "stream", "input": X},
            "16 x 1200000 numbers are 19200000: at most 16777216",
        ),
        (
            AudioPre,
            {**SOUND, "samples": 10_000_000, "features": "mfcc", "mel_bins": 1024, "coefficients": 1},
            "62501 frames of 1025 numbers",
        ),
    ],
)
def test_numbers_out_of_range_or_order_are_refused_with_both(
    kind: type[Message], document: dict[str, Any], says: str
) -> None:
    assert re.search(says, refusal(kind, document))


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (ZScore, {**TRAINED, "mean": [-1e100], "deviation": [0.0]}),
        (MinMax, {**TRAINED, "minimum": [3.0], "maximum": [3.0]}),
        (Quantisation, {"scale": LEAST_SINGLE, "zero_point": 0}),
        (Quantisation, {"scale": LARGEST_SINGLE, "zero_point": 0}),
        (TensorSpec, {**X, "dtype": "int8", "quantisation": {**SCALE, "zero_point": -128}}),
        (TensorPre, {"input": WHOLE}),
        (TextPre, {"length": 3, "pad_id": 2**63 - 1, "input": WHOLE}),
        (AudioPre, {**SOUND, "full_scale": 2.0**31}),
    ],
)
def test_the_ends_of_the_ranges_are_taken_and_cross_the_wire(kind: type[Message], document: dict[str, Any]) -> None:
    message = decode(kind, json.dumps(document).encode())
    assert decode(kind, encode(message)) == message


def test_text_that_is_given_is_not_repeated() -> None:
    assert "secret" not in refusal(ZScore, {"epsilon": "secret"})


def test_the_largest_sound_keeps_no_buffer_of_more_values() -> None:
    pre = AudioPre.model_validate({**SOUND, "samples": 10_000_000, "hop_length": 954, "features": "mfcc"})
    last_block = 16 * pre.hop_length + pre.frame_length
    assert pre.frames * (pre.mel_bins + pre.coefficients) <= LARGEST_VALUES
    assert pre.samples + 2 * 32_768 + 16 * 65_536 + 65_536 + last_block <= LARGEST_VALUES
    assert LOUDEST == 1e12
