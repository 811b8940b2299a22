"""The JSON Schema of every YAML file that people write, made from the models that read them, and the OpenAPI document.

Decides: which files have a schema, and that each key says what it means. Leaves out: the rules (the models' own), the
page for people (`tools/configuration.py`), and writing (`tools/reference.py`).

>>> sorted(KINDS)
['agent', 'fleet', 'model', 'recipe', 'simulator']
"""

import copy
import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from tools.source import ROOT, attribute_docstrings
from wire.spec import PostSpec, PreSpec

FOLDER = ROOT / "docs" / "schemas"
MEANINGS = ROOT / "docs" / "reference" / "keys.toml"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
Document = dict[str, Any]
_AGENT_SOURCES = ("agent/config.py", "agent/serve/settings.py")


@dataclass(frozen=True)
class Kind:
    """A kind of file: what it is called, where such files lie, and its schema."""

    title: str
    place: str
    make: Callable[[], Document]


@dataclass(frozen=True)
class Key:
    """One key of a file. `path` is dotted; `[]` stands for each entry of a list, `NAME` for a name of one's own."""

    path: str
    schema: Document
    required: bool
    among: bool = False
    """Its section is one of several that may stand in its place."""
    below: str = ""
    """Where the same keys stand already, for a section that is described elsewhere."""


def _agent() -> Document:
    """The agent does not let pydantic read its sources for descriptions at every start: they are put in here."""
    from agent.config import json_schema

    found = json_schema()
    for path in _AGENT_SOURCES:
        for (section, key), meaning in attribute_docstrings(path).items():
            if key in (properties := found["$defs"].get(section, {}).get("properties", {})):
                properties[key]["description"] = meaning
    return found


def _fleet() -> Document:
    from controller.config.schema import schema

    return schema()


def _recipe() -> Document:
    from controller.compress.recipe import json_schema

    return json_schema()


def _simulator() -> Document:
    from simulator.classes import ClassesFile

    return ClassesFile.model_json_schema()


def _model() -> Document:
    """The model's own schema leaves `pre` and `post` open: what may stand there is the protocol's pipeline.

    Its tensors are read from the model's file, and cannot be written.
    """
    from controller.models.folder import ModelYaml

    found = ModelYaml.model_json_schema()
    specs: dict[str, Any] = {"pre": PreSpec, "post": PostSpec}
    for name, spec in specs.items():
        part = TypeAdapter(spec).json_schema()
        found["$defs"] |= {
            each: _closed(body) for each, body in part.pop("$defs").items() if each not in _FROM_THE_FILE
        }
        found["properties"][name] = part
    return found


KINDS = {
    "fleet": Kind("Thresher fleet file", "`configs/fleets/*.yaml`", _fleet),
    "recipe": Kind("Thresher recipe", "`configs/recipes/*.yaml`", _recipe),
    "model": Kind("Thresher model folder", "`models/*/model.yaml`", _model),
    "agent": Kind("Thresher agent configuration", "The file of `agent run --config`", _agent),
    "simulator": Kind("Thresher simulated classes", "The file of `simulator run --classes`", _simulator),
}
_FROM_THE_FILE = ("TensorSpec", "Quantisation")
_TENSORS = ("input", "mask", "types", "output", "scores")
"""Fields of a pipeline that name the model's own tensors."""


@cache
def schema(kind: str) -> Document:
    """Return the schema (draft 2020-12) of a kind of file, every key described."""
    found = copy.deepcopy(KINDS[kind].make())
    found |= {"$schema": DIALECT, "title": KINDS[kind].title}
    for key in keys(found):
        if "description" not in key.schema and (meaning := meanings(kind).get(key.path)):
            key.schema["description"] = meaning
    return found


def schema_text(kind: str) -> str:
    """Return the schema as it is committed."""
    return json.dumps(schema(kind), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def openapi_text() -> str:
    """Return the description of the HTTP interface for applications as it is committed."""
    from agent.gateway.http.openapi import openapi

    return json.dumps(openapi(), indent=2, ensure_ascii=False) + "\n"


@cache
def meanings(kind: str) -> dict[str, str]:
    """Return path -> meaning of the keys whose models say nothing of them."""
    found: dict[str, str] = tomllib.loads(MEANINGS.read_text(encoding="utf-8"))[kind]
    return found


def meaning_of(key: Key, document: Document) -> str:
    """Return what a key means: its own description, else that of the section it holds; empty where neither says."""
    own = key.schema.get("description")
    inner = [resolved(part, document).get("description", "") for _, part in _parts(key.schema)]
    return str(own or next((text for text in inner if text), ""))


def keys(document: Document) -> Iterator[Key]:
    """Yield every key of a schema, outer ones first; alternatives one after the other."""
    yield from _keys(document, document, "", {}, False)


def resolved(part: Document, document: Document) -> Document:
    """Return a part of a schema, its reference followed."""
    if "$ref" not in part:
        return part
    found: Document = document["$defs"][part["$ref"].rpartition("/")[2]]
    return found


def free_keys(part: Document) -> Document | None:
    """Return what stands at each key of a mapping whose keys the user names, or None for anything else."""
    if part.get("patternProperties"):
        found: Document = next(iter(part["patternProperties"].values()))
        return found
    free = part.get("additionalProperties")
    return free if isinstance(free, dict) else None


def _keys(
    part: Document, document: Document, prefix: str, seen: dict[frozenset[str], str], among: bool
) -> Iterator[Key]:
    for name, inner in part.get("properties", {}).items():
        path, sections = f"{prefix}{name}", []
        for suffix, below in _parts(inner):
            section = resolved(below, document)
            if "properties" in section:
                sections.append((f"{path}{suffix}", section))
        known = [seen.get(frozenset(section["properties"])) for _, section in sections]
        twin = next((each for each in known if each and each != path), "")
        yield Key(path, inner, name in part.get("required", ()), among, twin)
        for place, section in [] if twin else sections:
            if len(section["properties"]) > 3:
                seen[frozenset(section["properties"])] = path
            yield from _keys(section, document, f"{place}.", seen, len(sections) > 1)


def _parts(inner: Document) -> Iterator[tuple[str, Document]]:
    """Yield what may stand at a key, with what its path gets: `[]` in lists, `.NAME` in mappings with free keys."""
    for option in inner.get("anyOf") or inner.get("oneOf") or [inner]:
        if "items" in option:
            yield from (("[]" + suffix, part) for suffix, part in _parts(option["items"]))
        elif (free := free_keys(option)) is not None:
            yield from ((".NAME" + suffix, part) for suffix, part in _parts(free))
        elif option is not inner or "$ref" in option:
            yield "", option


def _closed(section: Document) -> Document:
    """Return a section of the pipeline as a file may hold it: nothing unknown, and nothing that the model file says."""
    kept = {name: part for name, part in section["properties"].items() if name not in _TENSORS}
    needed = [name for name in section.get("required", ()) if name in kept]
    tag = [name for name in ("kind", "method") if name in kept]
    return {**section, "properties": kept, "required": sorted({*needed, *tag}), "additionalProperties": False}
