"""Which ONNX files are read, what is said of the others, and what their signature is."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.convert import signature
from controller.convert.onnx_io import canonical_digest, check_finite, check_onnx, onnx_signature, parse_onnx
from controller.convert.signature import read_signature
from controller.errors import UnusableModel
from tests.unit.controller.compress.small_models import conv_model


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def test_a_free_batch_is_minus_one(tmp_path: Path) -> None:
    found = read_signature("onnx", saved(conv_model(), tmp_path / "m.onnx"))
    assert (found.input().name, found.input().shape, found.input().dtype) == ("series", (-1, 1, 64), "float32")
    assert found.output().shape == (-1, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "the file is empty"), (b"not a model at all", "not an ONNX file"), (b"\x08\x0a", "not an ONNX file")],
)
def test_what_is_no_onnx_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(UnusableModel, match=says) as refused:
        parse_onnx(path)
    assert str(path) in str(refused.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = saved(conv_model(), tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnusableModel, match="export the model again"):
        parse_onnx(path)


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match="no such file"):
        read_signature("onnx", tmp_path / "m.onnx")
    with pytest.raises(UnusableModel, match="known are onnx, tflite"):
        read_signature("pte", saved(conv_model(), tmp_path / "m.onnx"))


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(conv_model(), tmp_path / "m.onnx")
    monkeypatch.setattr(signature, "LARGEST_MODEL_BYTES", 1000)
    with pytest.raises(UnusableModel, match="at most 1000 are supported"):
        parse_onnx(path)


def test_the_checker_finds_a_graph_that_makes_no_sense(tmp_path: Path) -> None:
    model = conv_model()
    model.graph.node[-1].input[0] = "nothing"
    with pytest.raises(UnusableModel, match=r"onnx\.checker refuses it"):
        check_onnx(model, tmp_path / "m.onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_numbers_are_named(value: float, tmp_path: Path) -> None:
    model = conv_model()
    spoilt = numpy_helper.to_array(model.graph.initializer[0]).copy()
    spoilt[0, 0, 0] = value
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(spoilt, "w1"))
    with pytest.raises(UnusableModel, match="'w1' hold NaN or infinite"):
        check_finite(model, tmp_path / "m.onnx")


def test_a_nan_in_a_constant_operator_is_found_too(tmp_path: Path) -> None:
    model = conv_model()
    constant = helper.make_node(
        "Constant", [], ["k"], value=numpy_helper.from_array(np.array([np.nan], np.float32), "k")
    )
    model.graph.node.insert(0, constant)
    with pytest.raises(UnusableModel, match="NaN"):
        check_finite(model, tmp_path / "m.onnx")


def external(folder: Path, location: str) -> Path:
    """Write a model whose first weight claims to lie in another file."""
    model = conv_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin"])
def test_weights_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(160))
    with pytest.raises(UnusableModel, match="lie outside the model's folder"):
        parse_onnx(external(tmp_path / "model", location))


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(160))
    path = external(tmp_path / "model", "weights.bin")
    (path.parent / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(UnusableModel, match="lie outside the model's folder"):
        parse_onnx(path)


def test_missing_external_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match="weights of 'w1' are missing"):
        parse_onnx(external(tmp_path / "model", "weights.bin"))


def test_external_weights_beside_the_model_are_loaded(tmp_path: Path) -> None:
    path = external(tmp_path / "model", "weights.bin")
    (path.parent / "weights.bin").write_bytes(np.arange(40, dtype=np.float32).tobytes())
    weights = numpy_helper.to_array(parse_onnx(path).graph.initializer[0])
    assert weights.reshape(-1)[39] == 39.0


def test_an_input_of_a_type_that_no_bundle_carries_is_refused() -> None:
    model = conv_model()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BOOL
    with pytest.raises(UnusableModel, match="'series' has element type 9"):
        onnx_signature(model)


def test_an_input_without_a_shape_is_refused() -> None:
    model = conv_model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnusableModel, match="has no shape"):
        onnx_signature(model)


def test_several_inputs_are_listed() -> None:
    model = conv_model()
    model.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, [1]))
    found = onnx_signature(model)
    with pytest.raises(UnusableModel, match="this one has 2: series, extra"):
        found.input()
    assert found.input("extra").shape == (1,)
    with pytest.raises(UnusableModel, match="no output is called 'x'; the file has logits"):
        found.output("x")


def test_the_digest_is_of_what_is_computed() -> None:
    noted, changed = conv_model(), conv_model()
    noted.producer_version, noted.graph.node[0].doc_string = "9", "a note"
    changed.graph.node[0].attribute[0].ints[0] = 1
    assert canonical_digest(noted) == canonical_digest(conv_model())
    assert canonical_digest(changed) != canonical_digest(conv_model())
