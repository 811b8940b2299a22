"""The benchmark of engines, without running it: which cells there are, what a row must say, what the page shows."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.common import repository
from benchmarks.engine_parts import cells, interpreters, running
from benchmarks.engine_parts.cells import Cell, Row, as_json, every_cell, silent_rows
from benchmarks.engine_parts.claims import claims
from benchmarks.engine_parts.finished import Finished, Shelf
from benchmarks.engine_parts.footprint import Footprint
from benchmarks.engine_parts.making import File, plain, way
from benchmarks.engine_parts.running import Reference
from benchmarks.engine_parts.subjects.keras_twin import BUILDERS, read_safetensors
from benchmarks.engine_parts.subjects.packages import NETWORKS, missing
from benchmarks.engine_parts.subjects.reference import REFERENCE
from controller.compress.variant import ENGINES_OF
from controller.convert.making.queries import ParityQueries
from controller.convert.making.routes import PRECISIONS, Route
from controller.errors import UnusableModel
from tools.engines_table import page

WORKS = Row(
    "leaf_outline", "onnx", "onnx", "float", "onnxruntime", "works",
    bytes=2_000_000, sha256="a", engine_parity={"sqnr_db": None, "top1_agreement_ratio": 1.0},
    p50_ms=0.5, cpu_ms=0.6, p50s_ms=(0.5,),
)  # fmt: skip
INT8 = replace(
    WORKS, precision="int8", sha256="b", bytes=500_000, p50_ms=0.75, cpu_ms=0.9,
    parity={"sqnr_db": 27.5, "top1_agreement_ratio": 1.0}, engine_parity={"sqnr_db": 27.0, "top1_agreement_ratio": 1.0},
)  # fmt: skip


def test_every_source_format_precision_and_engine_has_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    found = every_cell("m")
    assert len(found) == len(set(found))
    assert {(cell.target, cell.precision) for cell in found} == {
        (t, p) for t, all_of in PRECISIONS.items() for p in all_of
    }
    assert {cell.source for cell in found} == {"torch", "tensorflow", "onnx", "tflite"}
    assert {cell.engine for cell in found if cell.target == "tflite"} == {"litert", "tflite-runtime"}
    monkeypatch.setattr(cells, "ENGINES_OF", {**ENGINES_OF, "onnx": ("onnxruntime", "ncnn")})
    assert {cell.engine for cell in every_cell("m") if cell.target == "onnx"} == {"onnxruntime", "ncnn"}


def test_a_way_is_the_routes_own() -> None:
    assert way(Cell("m", "onnx", "onnx", "float", "onnxruntime")) is None
    found = way(Cell("m", "torch", "executorch", "int8", "executorch"))
    assert isinstance(found, Route)
    assert found.environment == "torch"
    refused = way(Cell("m", "tflite", "onnx", "fp16", "onnxruntime"))
    assert isinstance(refused, str)
    assert refused.startswith("no converter here reads TFLite")


@pytest.mark.parametrize(
    ("row", "silent"),
    [
        (WORKS, False),
        (replace(WORKS, p50_ms=None), True),
        (replace(WORKS, engine_parity=None), True),
        (replace(WORKS, outcome="works with a note"), True),
        (replace(WORKS, outcome="works with a note", notes=("slow",)), False),
        (replace(WORKS, outcome="refused", p50_ms=None), True),
        (replace(WORKS, outcome="not run", reason="no such engine here"), False),
        (replace(WORKS, target="tensorrt", engine="tensorrt", p50_ms=None), False),
        (replace(WORKS, target="coreml", engine="coreml", p50_ms=None), True),
        (replace(WORKS, target="coreml", engine="coreml", p50_ms=None, weights={"lowest_sqnr_db": 70.0}), False),
    ],
)
def test_a_row_says_enough(row: Row, silent: bool) -> None:
    assert silent_rows([row]) == ([row] if silent else [])


def test_claims_are_of_this_run_and_name_what_is_missing() -> None:
    taken = Footprint("onnxruntime", "1", "2", 30_000_000, 101_000_000, 110_000_000, 300.0, 20.0, 1.0, 78_000_000)
    found = {claim.name: claim for claim in claims([WORKS, INT8], [taken])}
    assert found["cells without a result or a reason"].holds
    assert found["lowest parity of what works, int8"].value == 27.0
    assert not found["lowest parity of what works, fp16"].holds
    assert found["int8 against float on onnxruntime, leaf_outline"].value == pytest.approx(0.6667)
    assert not found["int8 against float on onnxruntime, leaf_outline"].holds
    assert found["leaf_outline, fastest cell against float on ONNX Runtime"].value == 1.0
    assert not found["memory after load, onnxruntime"].holds
    assert found["import to first answer, onnxruntime"].value == pytest.approx(0.321)


def test_messages_lose_the_folders_of_the_machine() -> None:
    assert plain("cannot read /some/where/models/m.onnx:\n  no such file") == "cannot read m.onnx:; no such file"
    assert plain("1/2 of a/b, docs at https://example.org/a/b") == "1/2 of a/b, docs at https://example.org/a/b"
    assert plain("x" * 1000).endswith(" …")


def test_a_network_that_is_not_there_says_how_to_install_it(tmp_path: Path) -> None:
    network = next(each for each in NETWORKS if each.package == "silero-vad")
    assert "pip install --no-deps silero-vad==" in str(missing(network, None))
    assert str(missing(network, tmp_path)).startswith("not installed")
    for version, begins in (("0.1", "version 0.1 is installed"), (network.version, "None")):
        folder = tmp_path / version / "silero_vad-0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: silero-vad\nVersion: {version}\n")
        assert str(missing(network, folder.parent)).startswith(begins)


def test_an_engine_runs_here_or_in_the_environment_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = interpreters.Devices(tmp_path, tmp_path / "environments")
    assert found.missing("onnxruntime") is None
    monkeypatch.setattr(interpreters, "installed_version", lambda _: None)
    assert "give --environments FOLDER" in str(found.missing("executorch"))
    python = tmp_path / "environments/executorch/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert found.missing("executorch") is None
    found.close()


@pytest.mark.parametrize("name", REFERENCE)
def test_the_weights_of_every_reference_model_can_be_read_for_its_twin(name: str) -> None:
    weights = read_safetensors(repository() / "models" / name / f"{name}.safetensors")
    assert name in BUILDERS
    assert sum(each.size for each in weights.values()) > 1000
    assert all(each.dtype == "float32" for each in weights.values())


def test_the_page_tells_each_reason_once_and_names_models_that_differ() -> None:
    reason = "no <converter> here | or there"
    other = replace(WORKS, subject="soil_carbon", outcome="refused", reason="too old", p50_ms=None)
    refused = [replace(WORKS, subject=each, target="coreml", engine="coreml", outcome="refused", reason=reason,
                       bytes=None) for each in ("leaf_outline", "soil_carbon")]  # fmt: skip
    text = page(result([WORKS, INT8, other, *refused]))
    assert (
        "| `onnx` | `onnx` | `onnxruntime` | works (leaf_outline); refused (soil_carbon) [1] | - | works | - | - |"
        in text
    )
    assert "| `onnx` | `coreml` | `coreml` | refused [2] | - | - | - | - |" in text
    assert text.count("no &lt;converter> here \\| or there") == 1
    assert "| `onnx` | `onnx` | `int8` | `onnxruntime` | 500,000 | 27.5 dB | 27.0 dB | 100.0% | 0.750 | 0.900 |" in text
    assert "| 2,000,000 | is the source's file | equal | 100.0% | 0.500 | 0.600 |" in text


def test_a_model_that_was_finished_is_found_by_a_run_of_the_same_way(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, {"rounds": 3})
    one = Finished("leaf_outline", (WORKS, INT8), ({"engine": "litert"},), {"load_1m": 0.5})
    assert shelf.read("leaf_outline") is None
    shelf.keep(one)
    assert Shelf(tmp_path, {"rounds": 3}).read("leaf_outline") == one
    assert Shelf(tmp_path, {"rounds": 5}).read("leaf_outline") is None
    (tmp_path / "soil_carbon.json").write_text('{"key": "torn')
    assert shelf.read("soil_carbon") is None
    shelf.clear()
    assert shelf.read("leaf_outline") is None


ANSWERS = np.tile(np.array([[1.0, 0.0]]), (4, 1))


def reference() -> Reference:
    model: Any = SimpleNamespace(answered_as="regression")
    return Reference(model, ParityQueries(ANSWERS, 0, 0), ANSWERS, True)


@pytest.mark.parametrize(("noise", "sqnr_db", "counts"), [(0.0, None, True), (1e-3, 60.0, False), (1e-5, 100.0, True)])
def test_a_quick_run_judges_by_the_answers_that_the_conversion_was_judged_by(
    monkeypatch: pytest.MonkeyPatch, noise: float, sqnr_db: float | None, counts: bool
) -> None:
    file = File(Path("m.tflite"), "tflite", None, None)
    monkeypatch.setattr(running, "_outputs", lambda *_: ANSWERS - [[noise, 0.0]])
    found = running.answered_before(file, ("tflite", "float"), reference(), None)  # type: ignore[arg-type]
    assert found.parity is not None
    assert found.parity["sqnr_db"] == (pytest.approx(sqnr_db) if sqnr_db else None)
    assert (found.reason is None) == counts
    assert found.version


def test_a_file_that_does_not_run_says_why_in_a_quick_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UnusableModel("the agent's worker: no such operator")

    monkeypatch.setattr(running, "_outputs", refuse)
    file = File(Path("m.onnx"), "onnx", None, None)
    found = running.answered_before(file, ("onnx", "float"), reference(), None)  # type: ignore[arg-type]
    assert (found.parity, found.reason) == (None, "the agent's worker: no such operator")


def result(rows: list[Row]) -> dict[str, Any]:
    taken = {"at": "2026-01-02T03:04:05Z", "load_1m": 0.1, "load_1m_after": 0.2}
    around = {"processor": "P", "cores": 2, "nice": 0, **taken}
    return {
        "conditions": {**around, "converters": {"torch": {"torch": "2.13.0"}}},
        "subjects": [
            {"name": name, "sources": ["onnx"], "about": {}, "taken": taken} for name in ("leaf_outline", "soil_carbon")
        ],
        "cells": as_json(rows),
        "options": [],
        "footprints": [],
        "claims": [],
    }
