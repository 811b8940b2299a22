"""What engines can really do: asked once in processes of their own, kept, told; a broken one is told as broken."""

import sys
from pathlib import Path
from typing import Any

import pytest

from agent import inventory
from agent.config import AgentConfig
from agent.inference.engines import probe
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.engines.table import TABLE
from agent.inventory import find_engines, look_at_engines, take_inventory, usable_engines
from tests.contract.engines.fake_runtime import CPU, FakeLiteRt, FakeOnnxRuntime
from wire.presence import EngineInfo

GOOD = {"providers": ["cpu"], "unusable": {"cuda": "no GPU"}}
INSTALLED = (EngineInfo(name="onnxruntime", version="1"), EngineInfo(name="litert", version="2"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def ask(name: str, _: Path) -> dict[str, Any]:
        names.append(name)
        return GOOD if name == "onnxruntime" else {"error": "it does not fit"}

    monkeypatch.setattr(inventory, "_ask_engine", ask)
    return names


def test_each_engine_is_asked_once_for_its_version(tmp_path: Path, asked: list[str]) -> None:
    for _ in range(2):
        assert look_at_engines(INSTALLED, tmp_path) == {"onnxruntime": GOOD, "litert": {"error": "it does not fit"}}
    assert asked == ["onnxruntime", "litert"]
    look_at_engines((EngineInfo(name="onnxruntime", version="1.1"),), tmp_path)
    assert asked == ["onnxruntime", "litert", "onnxruntime"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}', '{"engines": {}}'])
def test_a_damaged_answer_is_asked_for_again(tmp_path: Path, asked: list[str], content: str) -> None:
    (tmp_path / "engines.json").write_text(content)
    assert look_at_engines(INSTALLED[:1], tmp_path) == {"onnxruntime": GOOD}
    assert asked == ["onnxruntime"]


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, asked: list[str]) -> None:
    (tmp_path / "file").touch()
    assert look_at_engines(INSTALLED[:1], tmp_path / "file" / "below")["onnxruntime"] == GOOD
    assert asked == ["onnxruntime"]


def test_a_broken_engine_is_none_and_is_told(tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "find_engines", lambda *_: INSTALLED)
    fields = {"fleet": "farm", "device": "d", "trusted_keys": {"k": "A"}, "state_dir": tmp_path}
    told = take_inventory(AgentConfig.model_validate(fields), None, 1, ("main",))
    (engine,) = told.engines
    assert (engine.name, engine.providers, engine.unusable) == ("onnxruntime", ("cpu",), {"cuda": "no GPU"})
    assert told.broken_engines == {"litert": "it does not fit"}
    assert asked == ["onnxruntime", "litert"]


def test_the_engines_of_this_machine_are_seen_and_not_imported_here(tmp_path: Path) -> None:
    loaded = {entry.library for entry in TABLE.values()} & set(sys.modules)
    installed = find_engines(None)
    found = {engine.name: engine for engine in usable_engines(installed, look_at_engines(installed, tmp_path))}
    assert "cpu" in found["onnxruntime"].providers
    assert found["litert"].providers == ("xnnpack", "reference")
    assert {entry.library for entry in TABLE.values()} & set(sys.modules) == loaded


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit(7)", "ended with 7; it said last: nothing"),
        ("import os, sys; print('bus', file=sys.stderr, flush=True); os.abort()", "ended with -6; it said last: bus"),
        ("print('no JSON')", "could not be looked at"),
        ("import time; time.sleep(60)", "timed out"),
    ],
)
def test_a_process_that_breaks_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: str
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{code}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(inventory, "PROBE_S", 2.0)
    assert expected in look_at_engines(INSTALLED[:1], tmp_path)["onnxruntime"]["error"]


# --- the process that looks --------------------------------------------------------------------------------------


def looked(monkeypatch: pytest.MonkeyPatch, runtime: FakeOnnxRuntime) -> dict[str, Any]:
    monkeypatch.setattr(OnnxRuntimeEngine, "import_library", lambda: runtime)
    return probe.look("onnxruntime")


def test_a_provider_that_works_is_told_apart_from_one_that_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ("CUDAExecutionProvider", "XnnpackExecutionProvider", CPU)
    found = looked(monkeypatch, FakeOnnxRuntime(listed, lacks="CUDAExecutionProvider"))
    assert found["providers"] == ["cpu", "xnnpack"]
    assert list(found["unusable"]) == ["cuda"]
    assert "is listed and cannot be used here" in found["unusable"]["cuda"]


def test_a_provider_that_only_lacks_the_probes_operator_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked(monkeypatch, FakeOnnxRuntime(("ACLExecutionProvider", CPU), taken=0))["providers"] == ["cpu", "acl"]


def test_delegates_count_where_their_library_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_edgetpu(library: str) -> None:
        if "edgetpu" not in library:
            raise OSError("cannot open shared object file")

    monkeypatch.setattr("agent.inference.engines.delegates.find_library", only_edgetpu)
    assert probe.LOOKS["litert"](FakeLiteRt()) == {"providers": ["xnnpack", "reference", "edgetpu"], "unusable": {}}
    refused = probe.LOOKS["litert"](FakeLiteRt(refuses="no device"))
    assert list(refused["unusable"]) == ["edgetpu"]


def test_the_probes_model_is_a_model() -> None:
    import onnx

    onnx.checker.check_model(onnx.load_from_string(probe.ADDITION), full_check=True)


def test_every_engine_can_be_looked_at() -> None:
    assert set(probe.LOOKS) == set(TABLE)
