"""Every YAML file that we ship or show validates against its published schema, and the schemas refuse what is wrong."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from agent.config import AgentConfig
from controller.compress.recipe import Recipe
from controller.config.fleet_file import FleetFile
from controller.models.folder import ModelYaml
from simulator.classes import ClassesFile
from tests.contract.json_schema import faults
from tools.configuration import faults as unexplained
from tools.reference import DOCS
from tools.schemas import KINDS, keys, schema, schema_text
from tools.source import ROOT

MODELS: dict[str, type[BaseModel]] = {
    "agent": AgentConfig,
    "fleet": FleetFile,
    "recipe": Recipe,
    "model": ModelYaml,
    "simulator": ClassesFile,
}
TELLING = {"device": "agent", "workloads": "fleet", "passes": "recipe", "pre": "model", "simulated": "simulator"}
"""A key that only one kind of file has at its top -> that kind."""
AROUND_SERVE = {"fleet": "farm", "device": "barn-1", "state_dir": "/var/lib/thresher"}
"""What an agent's file needs besides; a page on serving shows the part `serve` alone."""

FENCE = re.compile(r"^```yaml[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
HINT = re.compile(r"# yaml-language-server: \$schema=(\S+)")

SHIPPED = sorted([*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("models/*/model.yaml")])


def shown() -> Iterator[tuple[str, Any]]:
    """Yield the YAML blocks of all documents with the place where each begins."""
    for path in sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")]):
        text = path.read_text(encoding="utf-8")
        for block in FENCE.finditer(text):
            document = yaml.safe_load(block["text"])
            whole = {**AROUND_SERVE, **document} if set(document) == {"serve"} else document
            yield f"{path.relative_to(ROOT)}:{text[: block.start()].count(chr(10)) + 1}", whole


SHOWN = list(shown())


def kind_of(document: Any) -> str:
    kinds = [kind for key, kind in TELLING.items() if key in document]
    assert len(kinds) == 1, f"which kind of file is this? {sorted(document)}"
    return kinds[0]


def check(document: Any) -> None:
    kind = kind_of(document)
    assert faults(schema(kind), document) == []
    MODELS[kind].model_validate(document)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shipped_file_keeps_its_schema_and_names_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    check(document)
    hint = HINT.match(text)
    assert hint is not None, f"{path}: the first line names no schema"
    assert (path.parent / hint[1]).resolve() == DOCS / "schemas" / f"{kind_of(document)}.schema.json"


@pytest.mark.parametrize("document", [document for _, document in SHOWN], ids=[place for place, _ in SHOWN])
def test_a_file_shown_in_a_document_keeps_its_schema(document: Any) -> None:
    check(document)


def test_all_kinds_of_files_were_looked_at() -> None:
    looked_at = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SHIPPED] + [each for _, each in SHOWN]
    assert {kind_of(document) for document in looked_at} == set(KINDS)
    assert sum(place.startswith("docs/tutorial.md") for place, _ in SHOWN) == 3


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_published_schema_is_current(kind: str) -> None:
    written = (DOCS / "schemas" / f"{kind}.schema.json").read_text(encoding="utf-8")
    assert written == schema_text(kind), "run  make docs"
    assert json.loads(written)["$schema"].endswith("2020-12/schema")


def test_every_key_is_explained() -> None:
    assert unexplained() == []
    assert "Engine threads" in schema("agent")["properties"]["threads"]["description"]
    assert "workloads.NAME.rollout.gate.error_rate.margin_ratio" in {key.path for key in keys(schema("fleet"))}


def example(kind: str) -> Any:
    """Return a valid document of a kind."""
    found: list[Any] = [document for _, document in SHOWN if kind_of(document) == kind]
    found += [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SHIPPED]
    return next(document for document in found if kind_of(document) == kind)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_unknown_key_is_refused(kind: str) -> None:
    assert faults(schema(kind), example(kind) | {"no_such_key": 1}) == [": unknown key no_such_key"]


@pytest.mark.parametrize(
    ("kind", "change", "at"),
    [
        ("agent", {"threads": 0}, "threads"),
        ("agent", {"serve": {"source": {"kind": "camera"}}}, "source"),
        ("fleet", {"workloads": {"main": {"model": "m@1", "goals": {"confidence": 2}}}}, "confidence"),
        ("fleet", {"version": 2}, "version"),
        ("recipe", {"passes": [{"simplify": {}, "float16": {}}]}, "passes[0]"),
        ("recipe", {"passes": [{"quantize_static": {"scheme": "u4"}}]}, "quantize_static"),
        ("model", {"pre": {"kind": "series", "channels": 1}}, "pre"),
        ("model", {"formats": {}}, "formats"),
        ("simulator", {"simulated": [{"name": "a", "cores": 0}]}, "cores"),
    ],
)
def test_what_is_wrong_is_refused_by_schema_and_reader(kind: str, change: dict[str, Any], at: str) -> None:
    document = example(kind) | change
    found = faults(schema(kind), document)
    assert found
    assert all(at in fault for fault in found)
    with pytest.raises(ValueError, match=r".+"):
        MODELS[kind].model_validate(document)


def test_what_the_model_file_says_itself_is_not_for_the_folder_to_say() -> None:
    pre = {"kind": "tensor", "input": {"name": "x", "shape": [1]}}
    assert faults(schema("model"), example("model") | {"pre": pre}) != []
