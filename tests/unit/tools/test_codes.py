"""Reason codes are found wherever a file gives them, and what cannot be followed is named."""

import ast

import pytest

from tools import codes
from tools.source import ROOT, Source


def found_in(text: str, name: str = "agent/plan/example.py") -> codes.Found:
    source = Source(ROOT / name, text, ast.parse(text))
    found, places = codes.Found(), codes.places_of([source])
    codes.look_through(source, places, found)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ReportedError(code='by_keyword')", {"by_keyword"}),
        ("def refuse(workload, reason): ...\nrefuse('main', 'in_its_place')", {"in_its_place"}),
        ("class Tell:\n    kind: str\n    reason: str\nTell('state', 'as_a_field')", {"as_a_field"}),
        ("class A:\n    def _refuse(self, code): ...\n    def b(self): self._refuse('of_a_method')", {"of_a_method"}),
        ("reason = 'one' if a else 'other'", {"one", "other"}),
        ("code, detail = 'assigned', ''\nError(code=code)", {"assigned"}),
        ("Flag(reason=reason or 'else_this')", {"else_this"}),
        ("give_up('failed', f'text_in_front: {more}')", {"text_in_front"}),
        ("def its_reason(exc):\n    return 'answered' if exc else exc.reason\nE(code=its_reason(e))", {"answered"}),
        ("Error(code=exc.reason)\nError(code=None)", set()),
    ],
)
def test_a_code_is_found(text: str, expected: set[str]) -> None:
    found = found_in(text)
    assert set(found.codes) == expected
    assert found.unclear == []


@pytest.mark.parametrize(
    "text", ["Error(code=WORDS[n])", "Error(code=make(exc))", "Error(reason='Not a code')", "Error(code=name)"]
)
def test_what_cannot_be_followed_is_named(text: str) -> None:
    found = found_in(text)
    assert len(found.unclear) == 1
    assert found.unclear[0].startswith("agent/plan/example.py:1: ")


def test_exit_codes_of_processes_are_no_reasons() -> None:
    found = found_in("code = child.wait()\ndef ending(code: int): ...\nending(3)\nError(code=code)")
    assert (found.codes, found.unclear) == ({}, [])


def test_text_before_a_colon_is_a_code_only_where_trials_are_made() -> None:
    text = "raise Fault(f'trusted_keys: none in {path}')"
    assert set(found_in(text, "agent/config.py").codes) == set()
    assert set(found_in(text).codes) == {"trusted_keys"}
