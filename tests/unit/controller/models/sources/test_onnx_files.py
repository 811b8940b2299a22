"""Bare ONNX files: opsets, weights in other places, free axes, constant inputs, operators that nobody has."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.convert import signature
from controller.convert.onnx_io import check_finite, onnx_signature, parse_onnx
from controller.convert.operators import OLDEST_OPSET, check_operators, onnx_precision
from controller.convert.signature import read_signature
from controller.errors import ConfigurationError, UnusableModel
from controller.models.sources.base import GivenShape, ImportRequest, read_constants
from controller.models.sources.onnx_file import draft
from tests.unit.controller.compress.small_models import run
from tests.unit.controller.models.sources.small_graphs import FLOAT, INT64, graph, linear, picture, rated, save


def drafted(model: onnx.ModelProto, folder: Path, **options: Any) -> tuple[Path, dict[str, Any]]:
    """Return the file that was made, and its entry in model.yaml."""
    made = folder / "made"
    made.mkdir()
    entry = draft(ImportRequest(save(model, folder / "given" / "m.onnx"), **options), made).formats["onnx"]
    return made / str(entry["file"]), dict(entry)


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 13, 20, onnx.defs.onnx_opset_version()])
def test_every_opset_from_the_oldest_to_the_newest_is_read(opset: int, tmp_path: Path) -> None:
    path, entry = drafted(linear(opset), tmp_path)
    assert (entry["input"], entry["output"]) == ("row", "scores")
    check_operators(parse_onnx(path), path)


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, onnx.defs.onnx_opset_version() + 1])
def test_another_opset_is_refused_with_what_is_read(opset: int, tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(UnusableModel, match=f"opset {opset}, {OLDEST_OPSET} to {newest} are read; export"):
        check_operators(linear(opset), tmp_path / "m.onnx")


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    path = save(linear(), tmp_path / "given" / "m.onnx", external="weights.bin")
    small = path.stat().st_size
    made = tmp_path / "made"
    made.mkdir()
    given = draft(ImportRequest(path), made)
    assert any("weights.bin" in note for note in given.notes)
    assert (made / "model.onnx").stat().st_size > 4 * 12
    assert [file.name for file in made.iterdir()] == ["model.onnx"]
    assert small > 0
    rows = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(run(made / "model.onnx", rows), run(linear(), rows))


def test_external_weights_that_are_too_large_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(linear(), tmp_path / "m.onnx", external="weights.bin")
    monkeypatch.setattr(signature, "LARGEST_MODEL_BYTES", path.stat().st_size + 40)
    monkeypatch.setattr("onnx.external_data_helper.load_external_data_for_model", None)
    with pytest.raises(UnusableModel, match=f"{path.stat().st_size + 48} bytes with its external weights, at most"):
        parse_onnx(path)


@pytest.mark.parametrize(("key", "value"), [("offset", "-4"), ("length", "many")])
def test_external_weights_without_a_place_are_refused(key: str, value: str, tmp_path: Path) -> None:
    path = save(linear(), tmp_path / "m.onnx", external="weights.bin")
    model = onnx.load(path, load_external_data=False)
    entries = {entry.key: entry for entry in model.graph.initializer[0].external_data}
    entry = entries.get(key) or model.graph.initializer[0].external_data.add()
    entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnusableModel, match=r"have no place in weights\.bin"):
        parse_onnx(path)


def test_weights_in_constant_operators_are_kept(tmp_path: Path) -> None:
    model = linear()
    weights = model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=weights))
    del model.graph.initializer[:]
    path, _ = drafted(model, tmp_path)
    rows = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(run(path, rows), run(linear(), rows))


def test_free_axes_get_their_sizes_and_outputs_follow(tmp_path: Path) -> None:
    shapes = (GivenShape.parse("picture=-1,3,8,10", "--shape"),)
    path, _ = drafted(picture(), tmp_path, shapes=shapes)
    found = read_signature("onnx", path)
    assert found.input().shape == (-1, 3, 8, 10)
    assert found.output().shape == (-1, 3)


def test_one_shape_needs_no_name(tmp_path: Path) -> None:
    path, _ = drafted(picture(), tmp_path, shapes=(GivenShape.parse("1,3,8,8", "--shape"),))
    assert read_signature("onnx", path).input().shape == (1, 3, 8, 8)


def test_axes_of_one_name_have_one_size(tmp_path: Path) -> None:
    model = graph([helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, ["n", "t"])], [("y", FLOAT, ["n", "t"])])
    path, _ = drafted(model, tmp_path, shapes=(GivenShape.parse("1,7", "--shape"),))
    assert read_signature("onnx", path).output().shape == (1, 7)


def test_a_free_axis_says_which_option_fixes_it(tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match=r"may be free\. Fix .*--shape picture=1,3,SIZE,SIZE"):
        drafted(picture(), tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("picture=1,3,8", ConfigurationError, "3 sizes are given, the input has 4 axes"),
        ("image=1,3,8,8", ConfigurationError, "no input is called 'image'; .* has picture"),
        ("picture=1,4,8,8", UnusableModel, "axis 1 of 'picture' is fixed at 3, --shape gives 4"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(text: str, error: type[Exception], says: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=says):
        drafted(picture(), tmp_path, shapes=(GivenShape.parse(text, "--shape"),))


@pytest.mark.parametrize("text", ["", "x=", "1,x", "x=1,0", "x=1,-1", "x=0,3", "1,3:float", "x=1.5"])
def test_a_shape_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--shape"):
        GivenShape.parse(text, "--shape")


def test_an_input_that_is_always_the_same_becomes_a_weight(tmp_path: Path) -> None:
    path, entry = drafted(rated(), tmp_path, constants={"sr": 8.0})
    assert entry["input"] == "chunk"
    assert [tensor.name for tensor in read_signature("onnx", path).inputs] == ["chunk"]
    np.testing.assert_array_equal(run(path, np.full((1, 4), 16, np.float32)), np.full((1, 4), 2, np.float32))


def test_an_input_that_nothing_feeds_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match=r"has 2 that nothing else feeds: chunk .*sr .*--set NAME=VALUE"):
        drafted(rated(), tmp_path)


@pytest.mark.parametrize(
    ("constants", "says"), [({"rate": 1.0}, "no input is called 'rate'"), ({"sr": 0.5}, "does not hold that number")]
)
def test_a_constant_that_does_not_fit_is_refused(constants: dict[str, float], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=says):
        drafted(rated(), tmp_path, constants=constants)


@pytest.mark.parametrize("text", ["sr", "sr=", "=3", "sr=fast", "sr=nan", "sr=inf"])
def test_a_constant_that_is_none_is_refused(text: str) -> None:
    assert read_constants(["sr=16000", "a=b=2"]) == {"sr": 16000.0, "a=b": 2.0}
    with pytest.raises(ConfigurationError, match="one number: --set sr=16000"):
        read_constants([text])


def test_an_operator_of_a_library_is_named(tmp_path: Path) -> None:
    model = linear()
    inner = helper.make_graph([helper.make_node("Magic", [], ["m"], domain="my.ops")], "then", [], [])
    model.graph.node[0].domain = "some.where"
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    with pytest.raises(UnusableModel, match=r"operator MatMul of domain 'some\.where', nor Magic of my\.ops; export"):
        check_operators(model, tmp_path / "m.onnx")


def test_operators_that_the_file_defines_are_no_library(tmp_path: Path) -> None:
    model = linear()
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Times", ["a", "b"], ["c"], body, opsets))
    model.graph.node[0].domain, model.graph.node[0].op_type = "own", "Times"
    model.opset_import.append(helper.make_opsetid("own", 1))
    path, _ = drafted(model, tmp_path)
    assert run(path, np.ones((1, 4), np.float32)).shape == (1, 3)


def test_outputs_that_no_answer_is_read_from_are_passed_over(tmp_path: Path) -> None:
    model = linear()
    model.graph.node.append(helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0))
    model.graph.output.insert(0, helper.make_tensor_value_info("best", INT64, ["n"]))
    _, entry = drafted(model, tmp_path)
    assert entry["output"] == "scores"


def test_an_output_is_chosen_by_its_name(tmp_path: Path) -> None:
    model = linear()
    model.graph.node.append(helper.make_node("Softmax", ["scores"], ["chance"], axis=1))
    model.graph.output.append(helper.make_tensor_value_info("chance", FLOAT, ["n", 3]))
    assert drafted(model, tmp_path, output="chance")[1]["output"] == "chance"
    with pytest.raises(UnusableModel, match="no output is called 'odds'; the file has scores, chance"):
        draft(ImportRequest(tmp_path / "given" / "m.onnx", output="odds"), tmp_path / "made")


def test_eight_bit_ends_stand_for_themselves() -> None:
    byte = TensorProto.UINT8
    model = graph([helper.make_node("Identity", ["x"], ["y"])], [("x", byte, ["n", 4])], [("y", byte, ["n", 4])])
    found = onnx_signature(model)
    assert found.input().quantisation == found.output().quantisation
    assert (found.input().quantisation.scale, found.input().quantisation.zero_point) == (1.0, 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, "bfloat16"])
def test_nan_weights_of_every_float_type_are_found(dtype: Any, tmp_path: Path) -> None:
    model = linear()
    values = np.array([1, np.nan], np.float32)
    if dtype == "bfloat16":
        tensor = helper.make_tensor("extra", TensorProto.BFLOAT16, [2], values)
    else:
        tensor = numpy_helper.from_array(values.astype(dtype), "extra")
    model.graph.initializer.append(tensor)
    with pytest.raises(UnusableModel, match="'extra' hold NaN"):
        check_finite(model, tmp_path / "m.onnx")


def test_how_weights_are_stored_is_told() -> None:
    assert onnx_precision(linear()) == "float32"
    half = linear()
    half.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((4, 3), np.float16), "w"))
    assert onnx_precision(half) == "float16"
    for kind, precision in [
        ("QuantizeLinear", "int8"),
        ("ConvInteger", "int8-dynamic"),
        ("DequantizeLinear", "int8-weights"),
    ]:
        model = linear()
        model.graph.node.append(helper.make_node(kind, ["row"], ["q"]))
        assert onnx_precision(model) == precision


def test_options_of_other_sources_are_refused(tmp_path: Path) -> None:
    request = ImportRequest(save(linear(), tmp_path / "m.onnx"), state=tmp_path / "w.safetensors")
    with pytest.raises(ConfigurationError, match=r"--state goes with a PyTorch module.*leave it out"):
        draft(request, tmp_path)


def test_branches_that_a_constant_decides_are_folded(tmp_path: Path) -> None:
    def branch(name: str, factor: float) -> onnx.GraphProto:
        weights = [numpy_helper.from_array(np.array(factor, np.float32), f"factor_{name}")]
        operators = [helper.make_node("Mul", ["chunk", f"factor_{name}"], [f"out_{name}"])]
        given = [helper.make_tensor_value_info(f"out_{name}", FLOAT, ["n", 4])]
        return helper.make_graph(operators, name, [], given, weights)

    operators = [
        helper.make_node("Equal", ["sr", "wide"], ["is_wide"]),
        helper.make_node("If", ["is_wide"], ["y"], then_branch=branch("wide", 2.0), else_branch=branch("narrow", 3.0)),
    ]
    ends = [("chunk", FLOAT, ["n", 4]), ("sr", INT64, [])]
    model = graph(operators, ends, [("y", FLOAT, ["n", 4])], {"wide": np.array(16000)})
    path, _ = drafted(model, tmp_path, constants={"sr": 16000.0})
    assert {operator.op_type for operator in onnx.load(path).graph.node} == {"Mul"}
    np.testing.assert_array_equal(run(path, np.ones((1, 4), np.float32)), np.full((1, 4), 2, np.float32))
