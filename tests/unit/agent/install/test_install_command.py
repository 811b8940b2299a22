"""`agent install` and `agent uninstall` as commands: what is refused, and that a refusal changes nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent.cli import main
from agent.device.checkup import Finding
from agent.device.identity import StateLock
from agent.install import install as steps
from agent.install import release
from agent.install.environment import Environment
from agent.install.layout import Layout
from agent.install.system import InstallRefused, Progress
from tests.unit.agent.install.test_device_claim import KEY, token
from wire.claim import encode_token

TOKEN = encode_token(token())


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An environment of which a release could be made, on a device that lacks nothing."""
    prefix = tmp_path_factory.mktemp("environment")
    units = prefix / release.SHARED
    units.mkdir(parents=True)
    (units / "thresher-agent.service").write_text("[Unit]\n")
    made = Environment(prefix, prefix, prefix, False, prefix, "1")
    monkeypatch.setattr(steps, "running_environment", lambda: made)
    monkeypatch.setattr(steps, "check_environment", lambda *_: [])
    monkeypatch.setattr(steps, "check_up", lambda _: [])


def ended(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, arguments)))
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--claim", TOKEN, "--broker", "b"], 2),
        (["--broker", "b"], 2),
        (["--broker", "b", "--fleet", "f"], 2),
        (["--claim", TOKEN[:-9]], 3),
        (["--broker", "b:0", "--fleet", "f", "--keys", "k.yaml"], 3),
        (["--claim", TOKEN], 13),  # this is a checkout
    ],
)
def test_what_is_refused_changes_nothing(tmp_path: Path, arguments: list[str], code: int) -> None:
    root = tmp_path / "root"
    assert ended("install", "--root", root, "--dry-run", *arguments) == code
    assert not root.exists()


def test_what_the_doctor_misses_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [Finding("engines", "missing", "none", "pip install one"), Finding("clock", "warning", "late", "wait")]
    monkeypatch.setattr(steps, "check_up", lambda _: missing)
    assert ended("install", "--root", tmp_path, "--claim", TOKEN) == 13
    said = capsys.readouterr().err
    assert "engines: none (pip install one)" in said
    assert "doctor: clock" in said
    assert not (tmp_path / "etc").exists()


@pytest.mark.usefixtures("fit")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--claim", TOKEN, "--device", "Bad_Name!"], 3, "device: "),
        (["--claim", encode_token(token("pi-2")), "--device", "pi-1"], 3, "for the device 'pi-2'"),
        (["--claim", TOKEN, "--username", "u", "--password-file", "/nonexistent"], 13, "broker.password_file"),
        (["--claim", TOKEN, "--with", "nothing"], 13, "no addition 'nothing'"),
    ],
    ids=["name", "bound", "password", "drop-in"],
)
@pytest.mark.parametrize("how", [["--dry-run"], []], ids=["dry", "real"])
def test_what_would_end_badly_is_refused_before_the_first_step(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
    how: list[str],
) -> None:
    root = tmp_path / "root"
    assert ended("install", "--root", root, *how, *arguments) == code
    assert said in capsys.readouterr().err
    assert not root.exists()


@pytest.mark.usefixtures("fit")
@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"device": "Bad!"}, 3, "device"),
        ({"broker": {"password_file": "/nonexistent"}}, 13, "broker.password_file"),
        ({"trusted_keys": {"k": "A"}}, 13, "'k' is no base64"),
        ({"fleet": "yard"}, 13, "--force"),
    ],
    ids=["name", "password", "key", "fleet"],
)
def test_a_configuration_that_is_there_is_checked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], code: int, said: str
) -> None:
    layout = Layout(tmp_path)
    layout.config_dir.mkdir(parents=True)
    document = {"fleet": "farm", "device": "d", "state_dir": "../../var/lib/thresher", "trusted_keys": {"k": KEY}}
    layout.config.write_text(json.dumps({**document, **changes}))
    assert ended("install", "--root", tmp_path, "--claim", TOKEN) == code
    assert said in capsys.readouterr().err
    assert not layout.home.exists()


def test_a_refused_installation_leaves_nothing(tmp_path: Path) -> None:
    assert ended("install", "--root", tmp_path / "root", "--claim", TOKEN) == 13  # this is a checkout
    assert not (tmp_path / "root").exists()


@pytest.mark.usefixtures("fit")
def test_a_password_in_a_tree_may_be_named_as_the_image_will_see_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    (layout.root / "secrets").mkdir(parents=True)
    (layout.root / "secrets" / "broker").write_text("pw")
    arguments = ["--claim", TOKEN, "--username", "u", "--password-file", "/secrets/broker"]
    assert ended("install", "--root", layout.root, "--dry-run", *arguments) == 0


def test_an_environment_without_the_units_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstallRefused, match="data files"):
        steps.find_units(Environment(tmp_path, tmp_path, tmp_path, False, tmp_path, "1"))


def test_installing_the_running_system_takes_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InstallRefused, match="sudo"):
        steps.install(steps.Asked(None), Layout(), Progress(lambda _: None))


# --- taking it off -------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for folder in (layout.releases / "1" / "bin", layout.config_dir, layout.state_dir, layout.units / steps.DROP_INS):
        folder.mkdir(parents=True)
    document = {"fleet": "f", "device": "d", "state_dir": "../../var/lib/thresher", "trusted_keys": {"k": KEY}}
    layout.config.write_text(json.dumps(document))
    layout.unit.write_text("[Unit]\n")
    layout.point(layout.current, "1")
    return layout


def test_a_dry_run_removes_nothing(installed: Layout) -> None:
    assert ended("uninstall", "--root", installed.root, "--purge", "--dry-run") == 0
    assert installed.unit.exists()
    assert installed.state_dir.exists()


def test_what_others_laid_there_stays(installed: Layout) -> None:
    (installed.home / "notes.txt").write_text("mine")
    assert ended("uninstall", "--root", installed.root) == 0
    assert [path.name for path in installed.home.iterdir()] == ["notes.txt"]
    assert installed.config.exists()
    assert not (installed.units / steps.DROP_INS).exists()
    assert ended("uninstall", "--root", installed.root) == 0  # once more: nothing is left to do


def test_a_running_agent_is_not_taken_off(installed: Layout) -> None:
    lock = StateLock(installed.state_dir)
    assert ended("uninstall", "--root", installed.root, "--purge", "--yes") == 13
    lock.release()
    assert installed.state_dir.exists()
    assert ended("uninstall", "--root", installed.root, "--purge", "--yes") == 0
    assert not installed.state_dir.exists()
