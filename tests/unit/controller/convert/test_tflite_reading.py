"""TFLite facts from the flatbuffer alone."""

from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from controller.convert.tflite import read_tflite
from controller.errors import UnusableModel
from tests.unit.controller.compress.small_tflite import FEATURES, OUTPUTS, write_tflite

COMMITTED = Path(__file__).parents[4] / "models" / "leaf_outline" / "leaf_outline.tflite"


def test_facts_of_a_small_file(tmp_path: Path) -> None:
    facts = read_tflite(write_tflite(tmp_path / "m.tflite"))
    assert facts.signature.input().name == "row"
    assert facts.signature.input().shape == (1, FEATURES)
    assert facts.signature.output().quantisation is None
    assert facts.parameters == FEATURES * OUTPUTS + OUTPUTS
    assert facts.macs == FEATURES * OUTPUTS
    assert facts.operators == {"FULLY_CONNECTED": 1}


def test_facts_of_the_reference_model() -> None:
    """The convolutions of the committed model, counted from its architecture: 427 points, three blocks."""
    facts = read_tflite(COMMITTED)
    channels = ((1, 64), (64, 128), (128, 128))
    per_point = sum(8 * i * o + 5 * o * o + 3 * o * o + (i * o if i != o else 0) for i, o in channels)
    assert facts.macs == 427 * per_point + 128 * 6
    assert (facts.float_operators, facts.quantised_operators) == (12, 0)
    assert facts.signature.output().shape == (1, 6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"nothing like it", "not a TFLite file"),
        (b"\x00\x00\x00\x00TFL3" + bytes(64), "TFLite file"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(64), "broken TFLite file"),
    ],
)
def test_what_is_no_tflite_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(UnusableModel, match=says):
        read_tflite(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "m.tflite")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UnusableModel, match="broken TFLite file"):
        read_tflite(path)


@pytest.mark.parametrize(
    ("scale", "zero_point", "says"),
    [
        (0.5, 300, "'row': the zero point of 'row' is 300: int8 has -128 to 127"),
        (float("inf"), 0, "'row': Input should be a finite number"),
    ],
)
def test_a_quantisation_that_no_bundle_carries_is_refused(
    scale: float, zero_point: int, says: str, tmp_path: Path
) -> None:
    path = write_tflite(tmp_path / "m.tflite")
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    row = model.subgraphs[0].tensors[0]
    row.type, row.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
    row.quantization.scale, row.quantization.zeroPoint = [scale], [zero_point]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises(UnusableModel, match=says):
        read_tflite(path)
