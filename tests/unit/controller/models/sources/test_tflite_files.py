"""Bare TFLite files, float and quantised: what is read of them, what is refused, and what can be quantised again."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from controller.compress.cache import PassCache
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, Capabilities, PassContext
from controller.convert.tflite import check_finite, parse_tflite, read_tflite
from controller.errors import UnusableModel
from controller.models.sources.base import ImportRequest
from controller.models.sources.tflite_file import draft
from tests.unit.controller.compress.small_tflite import FEATURES, expected, rows, write_tflite
from tests.unit.controller.compress.test_passes_tflite import run_tflite

EVERYTHING = Capabilities(frozenset({"litert"}), frozenset({"tflite"}))


def changed(path: Path, change: Any) -> Path:
    """Write a small file after a change to its object tree."""
    model = parse_tflite(write_tflite(path).read_bytes(), path)
    change(model)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


@pytest.fixture
def context(tmp_path: Path) -> PassContext:
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "calibration.npy", rows(64))
    return PassContext(tmp_path / "out", PassCache(tmp_path / "cache"), tmp_path / "calibration.npy", "64 rows")


def quantised(mode: str, context: PassContext, path: Path) -> Path:
    artifact = Artifact("tflite", write_tflite(path))
    parameters = {"mode": mode, "calibration": "minmax", "samples": 64}
    return find_pass("tflite_quantize").run(artifact, parameters, context).path


def half_weights(model: Any) -> None:
    """Store the matrix as float16, with the operator that restores it."""
    graph = model.subgraphs[0]
    matrix = graph.tensors[1]
    values = np.frombuffer(bytes(model.buffers[matrix.buffer].data), np.float32).astype(np.float16)
    model.buffers[matrix.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    matrix.type = schema.TensorType.FLOAT16
    restored = schema.TensorT()
    restored.name, restored.shape, restored.buffer, restored.type = (
        b"restored",
        matrix.shape,
        0,
        schema.TensorType.FLOAT32,
    )
    graph.tensors.append(restored)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 1, [1], [4]
    graph.operators[0].inputs = [0, 4, 2]
    graph.operators = [operator, *graph.operators]


@pytest.mark.parametrize(
    ("mode", "precision"), [("static", "int8"), ("dynamic", "int8-dynamic"), ("weight_only", "int8-weights")]
)
def test_a_quantised_file_is_described_as_what_it_is(
    mode: str, precision: str, context: PassContext, tmp_path: Path
) -> None:
    source = quantised(mode, context, tmp_path / "float.tflite")
    made = tmp_path / "made"
    made.mkdir()
    given = draft(ImportRequest(source), made)
    facts = read_tflite(made / "model.tflite")
    assert facts.precision == precision
    assert given.notes == (f"weights are stored as {precision}",)
    assert (facts.signature.input().quantisation is not None) == (mode == "static")
    assert (made / "model.tflite").read_bytes() == source.read_bytes()


def test_half_precision_weights_are_told_and_counted(tmp_path: Path) -> None:
    facts = read_tflite(changed(tmp_path / "m.tflite", half_weights))
    assert (facts.precision, facts.parameters) == ("float16", FEATURES * 4 + 4)
    assert read_tflite(write_tflite(tmp_path / "f.tflite")).precision == "float32"


@pytest.mark.parametrize("stored", ["float16", "int8-dynamic", "int8-weights"])
def test_weights_in_fewer_bits_are_restored_and_quantised_again(
    stored: str, context: PassContext, tmp_path: Path
) -> None:
    modes = {"int8-dynamic": "dynamic", "int8-weights": "weight_only"}
    source = (
        changed(tmp_path / "m.tflite", half_weights)
        if stored == "float16"
        else quantised(modes[stored], context, tmp_path / "f.tflite")
    )
    kept = Artifact("tflite", source.rename(tmp_path / "given.tflite"), stored)
    real, again = find_pass("tflite_float"), find_pass("tflite_quantize")
    assert real.applies(EVERYTHING, kept) is None
    assert again.applies(EVERYTHING, kept) is None
    plain = real.run(kept, {}, context)
    inputs = rows(20, seed=9)
    assert read_tflite(plain.path).precision == "float32"
    np.testing.assert_allclose(run_tflite(plain.path, inputs), run_tflite(kept.path, inputs), atol=0.05)
    made = again.run(kept, {"mode": "static", "calibration": "minmax", "samples": 64}, context)
    assert (made.precision, made.notes) == ("int8", (f"weights restored from {stored}",))
    assert read_tflite(made.path).precision == "int8"
    assert [file.name for file in context.folder.iterdir()] == ["model.tflite"]
    assert np.abs(run_tflite(made.path, inputs * 0.5) - expected(inputs * 0.5)).max() < 0.15


@pytest.mark.parametrize("name", ["tflite_float", "tflite_quantize"])
def test_integer_activations_cannot_be_restored(name: str, tmp_path: Path) -> None:
    because = find_pass(name).applies(EVERYTHING, Artifact("tflite", tmp_path / "m.tflite", "int8"))
    assert because is not None
    assert because.startswith(f"{name} takes float32 files, this one is int8: import the float file")


def test_custom_operators_are_named(tmp_path: Path) -> None:
    def custom(model: Any) -> None:
        code = model.operatorCodes[0]
        code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, schema.BuiltinOperator.CUSTOM
        code.customCode = b"MyLayer"
        model.subgraphs[0].operators[0].builtinOptionsType = 0
        model.subgraphs[0].operators[0].builtinOptions = None

    path = changed(tmp_path / "m.tflite", custom)
    assert read_tflite(path).operators == {"CUSTOM MyLayer": 1}
    made = tmp_path / "made"
    made.mkdir()
    assert draft(ImportRequest(path), made).notes == ("operator CUSTOM MyLayer",)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    def spoil(model: Any) -> None:
        values = np.frombuffer(bytes(model.buffers[1].data), np.float32).copy()
        values[3] = np.nan
        model.buffers[1].data = np.frombuffer(values.tobytes(), np.uint8)

    with pytest.raises(UnusableModel, match="'matrix' hold NaN"):
        check_finite(changed(tmp_path / "m.tflite", spoil))
    check_finite(write_tflite(tmp_path / "f.tflite"))


def test_bytes_without_a_scale_stand_for_themselves(tmp_path: Path) -> None:
    def as_bytes(model: Any) -> None:
        model.subgraphs[0].tensors[0].type = schema.TensorType.UINT8

    source = read_tflite(changed(tmp_path / "m.tflite", as_bytes)).signature.input()
    assert source.quantisation is not None
    assert (source.dtype, source.quantisation.scale, source.quantisation.zero_point) == ("uint8", 1.0, 0)


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    def four(model: Any) -> None:
        model.subgraphs[0].tensors[0].shape = [4, FEATURES]

    with pytest.raises(UnusableModel, match="the batch is fixed at 4"):
        draft(ImportRequest(changed(tmp_path / "m.tflite", four)), tmp_path)


def test_damage_anywhere_is_a_reason_and_no_crash(tmp_path: Path) -> None:
    whole = write_tflite(tmp_path / "whole.tflite").read_bytes()
    path, refused = tmp_path / "m.tflite", 0
    for place in range(8, len(whole), 5):
        for damage in (b"\xff", b"\xff\xff\xff\x7f"):
            path.write_bytes(whole[:place] + damage + whole[place + len(damage) :])
            try:
                read_tflite(path)
                check_finite(path)
            except UnusableModel as exc:
                refused += "broken TFLite file" in str(exc)
    assert refused > 20


def test_a_tensor_that_no_bundle_carries_is_named(tmp_path: Path) -> None:
    def deep(model: Any) -> None:
        model.subgraphs[0].tensors[0].shape = [1] * 9

    with pytest.raises(UnusableModel, match="no bundle carries the tensor 'row'"):
        read_tflite(changed(tmp_path / "m.tflite", deep))
