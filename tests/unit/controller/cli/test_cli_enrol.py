"""`controller fleet enrol`: what it prints is a token that holds what the device needs."""

import json
from pathlib import Path

import pytest

from controller.cli.entry import run
from controller.keys import load_key
from controller.workspace import Workspace
from wire.claim import decode_token

FLEET_FILE = """\
version: 1
fleet: farm
broker: {host: broker.local, port: 8883, ca_file: ca.pem}
classes: [{name: all, match: {}}]
workloads: {main: {model: model, recipes: [float32], goals: {max_accuracy_drop_ratio: 0.1}}}
"""


@pytest.fixture
def fleet_file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET_FILE)
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return path


def enrol(workspace: Workspace, *arguments: str, code: int = 0) -> None:
    assert run(["--workspace", str(workspace.root), "fleet", "enrol", "farm", *arguments]) == code


def test_the_token_holds_broker_and_keys(
    workspace: Workspace, fleet_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(workspace, "--config", str(fleet_file), "--device", "pi-1")
    token = decode_token(capsys.readouterr().out)
    assert (token.fleet, token.device, token.broker.host, token.broker.port) == ("farm", "pi-1", "broker.local", 8883)
    assert token.broker.ca == "-----BEGIN CERTIFICATE-----\n"
    assert dict(token.keys) == load_key(workspace.keys).trusted_keys


def test_options_stand_over_the_fleet_file(
    workspace: Workspace, fleet_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--config", str(fleet_file), "--broker-host", "127.0.0.1", "--broker-port", "1884", "--any", "3")
    enrol(workspace, *options, "--json")
    shown = json.loads(capsys.readouterr().out)
    token = decode_token(shown["token"])
    assert (token.broker.host, token.broker.port, token.device) == ("127.0.0.1", 1884, None)
    enrol(workspace, *options)
    assert "only this machine reaches a broker at 127.0.0.1" in capsys.readouterr().err


def test_tokens_are_listed_and_taken_back(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    enrol(workspace, "--broker-host", "b", "--any", "2", "--json")
    claim = json.loads(capsys.readouterr().out)["claim"]
    enrol(workspace, "--pending", "--json")
    assert [row["claim"] for row in json.loads(capsys.readouterr().out)] == [claim]
    enrol(workspace, "--revoke", claim)
    enrol(workspace, "--pending", "--json")
    enrol(workspace, "--list")
    shown = capsys.readouterr().out
    assert "[]" in shown
    assert "revoked" in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 4),  # no fleet file, and no broker
        (("--device", "pi-1", "--any", "2"), 2),
        (("--broker-host", "b", "--device", "Pi 1"), 3),
        (("--broker-host", "b", "--any", "0"), 3),
        (("--revoke", "c-none"), 4),
    ],
)
def test_what_cannot_be_asked(workspace: Workspace, arguments: tuple[str, ...], code: int) -> None:
    enrol(workspace, *arguments, code=code)
