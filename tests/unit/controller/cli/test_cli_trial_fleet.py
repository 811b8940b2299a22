"""`controller trial fleet`: table, sentences, JSON."""

import json
from pathlib import Path

import pytest

from controller.cli.entry import run
from tests.unit.controller.report.fleet_rows import add_boards
from tests.unit.controller.report.store_rows import DEPLOYMENT, filled_store


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    store = filled_store(tmp_path / "ws")
    add_boards(store, variant="int8\x1b[31m")
    store.close()
    return str(tmp_path / "ws")


def test_it_prints_numbers_and_who_stands_out(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", workspace, "trial", "fleet"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "fp32 (control)",
        "pi-3 is 1.",
        "bad cooling",
        "To do: clean or fit",
        "p95 without pi-3",
        "pi-2 1.0",
    ):
        assert expected in out, expected
    assert "Nothing can be said of the whole class: only barn-1" in out
    assert "\x1b" not in out


def test_json_is_the_report_s_section(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", workspace, "trial", "fleet", "--deployment", DEPLOYMENT, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["device_class"] for row in rows] == ["pi5", "single"]


def test_an_unknown_deployment_is_said_so(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", workspace, "trial", "fleet", "--deployment", "nowhere"]) == 4
    assert "nowhere" in capsys.readouterr().err
