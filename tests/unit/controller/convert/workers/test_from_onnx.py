"""The converter from ONNX to TFLite in its own environment. Long: it starts a process that imports onnx2tf."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from controller.compress.cache import PassCache
from controller.convert.making.make import ConvertContext, ConvertRequest, convert
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder
from tests.unit.controller.convert.workers.kit import installed

pytestmark = pytest.mark.long


@pytest.fixture
def context(tmp_path: Path) -> ConvertContext:
    installed("onnx2tf")
    return ConvertContext(PassCache(tmp_path / "cache"), tmp_path / "datasets")


@pytest.mark.parametrize(("channel_last", "shape"), [(None, (-1, 1, 64)), (True, (-1, 64, 1))])
def test_series_keep_their_axes_unless_asked(
    tmp_path: Path, context: ConvertContext, channel_last: bool | None, shape: tuple[int, ...]
) -> None:
    root = write_folder(tmp_path / "small", MODEL_YAML)
    request = ConvertRequest(ModelFolder.load(root), "tflite", channel_last=channel_last)
    kept = convert(request, context)
    assert kept.because is None
    assert kept.conversion.converter.keys() == {"onnx2tf", "onnxslim"}
    model = ModelFolder.load(root)
    assert list(model.formats) == ["tflite", "onnx"]
    pre = model.pipeline("tflite").pre
    assert (pre.input.name, pre.input.shape) == ("series", shape)
    for precision in ("fp16", "int8"):
        more = convert(ConvertRequest(model, "tflite", precision, channel_last=channel_last), context)
        assert more.because is None
        assert more.conversion.bytes < kept.conversion.bytes


def test_an_operator_without_a_tflite_form_is_named(tmp_path: Path, context: ConvertContext) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    graph = helper.make_graph(
        [
            helper.make_node("SplitToSequence", ["x"], ["parts"], name="split", axis=1),
            helper.make_node("ConcatFromSequence", ["parts"], ["y"], name="join", axis=1),
        ],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), root / "odd.onnx")
    (root / "model.yaml").write_text(
        'schema: 1\nname: odd\nversion: "1"\nkind: regression\nformats:\n  onnx: {file: odd.onnx}\n'
        "pre: {kind: tensor}\npost: {kind: regression}\n"
    )
    with pytest.raises(UnusableModel, match="no TFLite form of CONCATFROMSEQUENCE, SPLITTOSEQUENCE, so no engine"):
        convert(ConvertRequest(ModelFolder.load(root), "tflite"), context)
