"""Ways from sources to targets: every cell is a way or a reason that says what would work."""

from typing import get_args

import pytest

from controller.convert.conversion import Precision, Source, Target
from controller.convert.making.routes import ENGINES, FORMATS, PRECISIONS, SUFFIXES, Route, find_route
from controller.errors import UnusableModel
from wire.manifest import Format

SOURCES = get_args(Source)

WHAT_WOULD_WORK = (
    *("import the", "keep the ONNX", "float onnx already", "float tflite already", "it has", "converted for it are"),
    "write the network in PyTorch",
)
WAYS = {
    ("torch", "onnx", "float"): ("torch", "from_torch.to_onnx", "float", None),
    ("torch", "onnx", "int8"): ("torch", "from_torch.to_onnx", "float", "quantize_static"),
    ("torch", "tflite", "fp16"): ("torch", "from_torch.to_tflite", "float", "tflite_float16"),
    ("torch", "executorch", "int8"): ("torch", "from_torch.to_executorch", "int8", None),
    ("torch", "coreml", "pal4"): ("torch", "from_torch.to_coreml", "pal4", None),
    ("torch", "tensorrt", "int8"): ("torch", "from_torch.to_onnx", "float", "tensorrt_int8"),
    ("onnx", "onnx", "fp16"): (None, None, "float", "float16"),
    ("onnx", "tflite", "int8"): ("onnx2tf", "from_onnx.to_tflite", "float", "tflite_quantize"),
    ("onnx", "tensorrt", "fp16"): (None, None, "float", "float16"),
    ("tensorflow", "onnx", "float"): ("tensorflow", "from_tensorflow.to_onnx", "float", None),
    ("tensorflow", "tflite", "int8"): ("tensorflow", "from_tensorflow.to_tflite", "int8", None),
    ("tflite", "tflite", "int8"): (None, None, "float", "tflite_quantize"),
}


@pytest.mark.parametrize("cell", WAYS)
def test_the_way_of_a_cell(cell: tuple[str, str, str]) -> None:
    source, target, precision = cell
    route = find_route({source}, target, precision)
    assert (route.environment, route.worker, route.scheme, route.then) == WAYS[cell]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", get_args(Target))
def test_every_cell_is_a_way_or_says_what_would_work(source: str, target: str) -> None:
    for precision in get_args(Precision):
        found = way_or_reason(target, precision, source)
        if isinstance(found, str):
            assert any(words in found for words in WHAT_WOULD_WORK), found
        else:
            assert (found.worker is None) == (found.environment is None)
            assert found.worker or found.then


def way_or_reason(target: str, precision: str, source: str) -> Route | str:
    try:
        return find_route(SOURCES, target, precision, source)
    except UnusableModel as exc:
        return str(exc)


@pytest.mark.parametrize(
    ("have", "target", "wanted"),
    [
        ({"torch", "onnx", "tflite"}, "tflite", "torch"),
        ({"onnx", "tflite"}, "tflite", "onnx"),
        ({"torch", "onnx"}, "onnx", "torch"),  # the ONNX file is float already: torch makes another
        ({"torch", "onnx"}, "tensorrt", "onnx"),
        ({"onnx", "torch"}, "coreml", "torch"),
    ],
)
def test_the_source_that_leads_best_there_is_taken(have: set[str], target: str, wanted: str) -> None:
    precision = "fp16" if target == "tensorrt" else "float"
    assert find_route(have, target, precision).source == wanted


@pytest.mark.parametrize(
    ("have", "target", "precision", "source", "says"),
    [
        ({"onnx"}, "coreml", "fp16", None, "coremltools has not read ONNX since version 6: import the torch module"),
        ({"onnx"}, "executorch", "float", None, "ExecuTorch lowers PyTorch programs only"),
        ({"onnx"}, "tflite", "pal4", None, "tflite has no pal4; it has float, fp16, int8"),
        ({"onnx"}, "tensorrt", "float", None, "provider: tensorrt"),
        ({"onnx"}, "onnx", "float", None, "float onnx already"),
        ({"onnx"}, "tflite", "float", "torch", "no torch source; it has onnx"),
        (set(), "onnx", "float", None, "the model has no source"),
    ],
)
def test_no_way_has_a_reason(have: set[str], target: str, precision: str, source: str | None, says: str) -> None:
    with pytest.raises(UnusableModel, match=says):
        find_route(have, target, precision, source)


def test_targets_have_a_format_an_engine_and_a_suffix() -> None:
    assert set(get_args(Target)) == set(PRECISIONS) == set(ENGINES) == set(SUFFIXES)
    assert set(FORMATS) == set(get_args(Target))
    assert set(FORMATS.values()) == set(get_args(Format))


def test_only_int8_of_engines_calibrates() -> None:
    assert find_route({"torch"}, "executorch", "int8").calibrates
    assert not find_route({"torch"}, "coreml", "int8").calibrates
    assert not find_route({"torch"}, "tflite", "fp16").calibrates
