"""A benchmark's output: one JSON object with conditions and claims, and no goal left out."""

import json

import pytest

from benchmarks.common import Claim, at_most, below, not_measured, run, table

CLAIMS = [
    at_most("memory", 49.99999, 50, "MB", "three readings"),
    below("start", 0.3, 0.3, "s", "median of ten"),
    not_measured("heat", "celsius", "<= 80", "no sensor"),
]


def test_limits_are_meant_as_they_are_written() -> None:
    assert [claim.holds for claim in CLAIMS] == [True, False, False]
    assert at_most("memory", 50, 50, "MB", "").holds


def test_the_json_is_one_object_with_the_keys_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bool] = []

    def measure(quick: bool) -> list[Claim]:
        asked.append(quick)
        return CLAIMS

    run("sample", measure, ["--json", "--quick"])
    shown = json.loads(capsys.readouterr().out)
    assert asked == [True]
    assert set(shown) == {"benchmark", "conditions", "claims"}
    assert {"processor", "cores", "load_1m", "python", "packages"} <= set(shown["conditions"])
    assert [set(claim) for claim in shown["claims"]] == [{"name", "value", "unit", "goal", "holds", "how"}] * 3


def test_the_table_says_which_goal_was_not_reached(capsys: pytest.CaptureFixture[str]) -> None:
    run("sample", lambda _quick: CLAIMS, [])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["holds", "SHORT", "SHORT"]
    assert "not measured: no sensor" in lines[3]
    assert "Python" in table({"processor": "p", "cores": 1, "load_1m": 0, "python": "3"}, []).splitlines()[0]
