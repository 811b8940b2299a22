"""Keys are walked through every construct that our schemas use; the pages word them; the picture shows every step."""

import re
from typing import Any

import pytest

from tools import configuration, states
from tools.schemas import Key, keys, schema
from wire.device_state import LEGAL, State

DOCUMENT: dict[str, Any] = {
    "$defs": {
        "Inner": {"type": "object", "description": "Inner part.", "properties": {"depth": {"type": "integer"}}},
        "A": {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "number"}}, "required": ["x"]},
        "B": {"type": "object", "properties": {"kind": {"const": "b"}}},
    },
    "properties": {
        "plain": {"type": "string", "default": "p|q"},
        "part": {"$ref": "#/$defs/Inner"},
        "many": {"type": "array", "items": {"$ref": "#/$defs/Inner"}},
        "named": {"type": "object", "patternProperties": {"^[a-z]+$": {"$ref": "#/$defs/Inner"}}},
        "free": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        "either": {"oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]},
        "maybe": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]},
    },
    "required": ["plain"],
}


def found() -> dict[str, Key]:
    return {key.path: key for key in keys(DOCUMENT)}


def test_every_key_is_reached() -> None:
    assert list(found()) == [
        "plain",
        *("part", "part.depth"),
        *("many", "many[].depth"),
        *("named", "named.NAME.depth"),
        "free",
        *("either", "either.kind", "either.x"),
        *("maybe", "maybe.depth"),
    ]
    assert found()["plain"].required
    assert found()["either.x"].among


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("plain", "text"),
        ("part", "section"),
        ("many", "list of section"),
        ("named", "mapping of section"),
        ("free", "mapping of list of text"),
        ("maybe", "section or null"),
        ("either.kind", '`"b"`'),
    ],
)
def test_types_are_worded(path: str, words: str) -> None:
    assert configuration.type_of(found()[path].schema, DOCUMENT) == words


def test_bounds_are_worded() -> None:
    port = {"type": "integer", "minimum": 1, "maximum": 65535}
    assert configuration.type_of(port, DOCUMENT) == "whole number from 1 to 65535"
    ratio = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    assert configuration.type_of(ratio, DOCUMENT) == "number above 0 below 1"


def test_a_row_of_the_page_has_four_cells() -> None:
    rows = [line for line in configuration.page("").splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if len(re.split(r"(?<!\\)\|", row)) != 6] == []
    assert len({row.split("|")[1] for row in rows if "workloads." in row}) > 40


def test_the_pipeline_of_a_model_folder_is_closed() -> None:
    series = schema("model")["$defs"]["SeriesPre"]
    assert series["additionalProperties"] is False
    assert "input" not in series["properties"]
    assert {"kind", "channels", "length"} <= set(series["required"])


def test_the_picture_shows_every_state_and_every_step() -> None:
    picture = states.picture()
    drawn = re.findall(r"<text x=[^>]*>([a-z_]+)</text>", picture)
    assert sorted(drawn) == sorted(state.value for state in State)
    wanted = sum(len(LEGAL[state] - states.NEW_GENERATION - {state}) for state in State) + 1
    assert picture.count("<path d=") - 1 == wanted  # one more is the arrow's head


def test_a_state_without_a_meaning_is_a_fault() -> None:
    with pytest.raises(KeyError):
        states.page("", {})
