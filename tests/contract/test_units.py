"""The systemd units as they ship: accepted by systemd, hardened, and in step with the code."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.config import CREDENTIAL
from agent.errors import ConfigurationError, TrustError
from controller.deploy import fleet_files
from controller.errors import Busy, ControllerError
from controller.errors import ConfigurationError as ControllerConfigurationError

UNITS = Path(__file__).parents[2] / "systemd"
AGENT, CONTROLLER = "thresher-agent.service", "thresher-controller.service"
PROGRAMS = "/opt/thresher/current/bin"
WORST_SCORE = 2.5
BOTH = pytest.mark.parametrize("unit", [AGENT, CONTROLLER])
DROP_INS = sorted(path.stem for path in (UNITS / f"{AGENT}.d").glob("*.conf"))
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here: install the package systemd"
)


def laid_out(folder: Path, unit: str, *drop_ins: str) -> Path:
    """Copy a unit whose programs exist, with drop-ins; return its path."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("thresher-agent", "thresher-controller"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    text = re.sub(r"/opt/thresher/\w+/bin", str(programs), (UNITS / unit).read_text())
    (folder / unit).write_text(text)
    (folder / f"{unit}.d").mkdir()
    for name in drop_ins:
        shutil.copy(UNITS / f"{unit}.d/{name}.conf", folder / f"{unit}.d")
    return folder / unit


def score(path: Path) -> float:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", ended.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze cannot judge a file (systemd 250 can): {ended.stderr.strip()}")
    return float(found[1])


@needs_systemd
@BOTH
def test_systemd_has_nothing_to_say_against_a_unit(tmp_path: Path, unit: str) -> None:
    path = laid_out(tmp_path, unit, *(DROP_INS if unit == AGENT else ()))
    ended = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    ours = [line for line in ended.stderr.splitlines() if "thresher" in line]
    assert (ended.returncode, ours) == (0, []), ended.stderr


@needs_systemd
@BOTH
def test_a_unit_is_hardened(tmp_path: Path, unit: str) -> None:
    found = score(laid_out(tmp_path, unit))
    print(f"systemd-analyze security: {unit} {found}")
    assert found <= WORST_SCORE


@needs_systemd
@pytest.mark.parametrize("name", DROP_INS)
def test_a_drop_in_leaves_the_agent_hardened(tmp_path: Path, name: str) -> None:
    found = score(laid_out(tmp_path, AGENT, name))
    print(f"systemd-analyze security: {AGENT} with {name}.conf {found}")
    assert found <= WORST_SCORE


def settings(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@BOTH
def test_a_unit_says_what_is_promised_of_it(unit: str) -> None:
    said = settings(unit)
    assert said["Type"] == ["notify"]
    assert said["ProtectSystem"] == ["strict"]
    assert said["User"] == [unit.removesuffix(".service").removesuffix("-agent")]
    assert set(said) >= {"WatchdogSec", "LoadCredential", "MemoryMax", "CPUWeight", "ReadWritePaths", "TasksMax"}
    assert said["ExecStart"][0].startswith(PROGRAMS)


def test_what_does_not_get_better_is_not_tried_again() -> None:
    agent, controller = (settings(unit)["RestartPreventExitStatus"][0].split() for unit in (AGENT, CONTROLLER))
    assert agent == ["2", str(ConfigurationError.exit_code), str(TrustError.exit_code)]
    refused: list[type[ControllerError]] = [ControllerConfigurationError, Busy]
    assert {str(error.exit_code) for error in refused} <= set(controller)


def test_the_credential_is_the_one_that_is_looked_for() -> None:
    assert CREDENTIAL == fleet_files.CREDENTIAL
    for unit in (AGENT, CONTROLLER):
        assert settings(unit)["LoadCredential"][0].startswith(f"{CREDENTIAL}:")
