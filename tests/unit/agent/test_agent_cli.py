"""The `agent` command: helps without imports, exit codes, status of a folder at rest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from agent.cli import COMMANDS, entry, main
from agent.update.slots import WorkloadFolder
from tests.unit.agent.update.samples import A, C, saved
from wire.device_state import State


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    path.write_text(yaml.safe_dump({"fleet": "farm", "device": "d", "state_dir": "state", "trusted_keys": {"k": key}}))
    return path


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, agent.cli\ntry: agent.cli.main(['--help'])\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = output.splitlines()[-1]
    assert all(f"'{name}'" not in loaded for name in ("pydantic", "paho", "numpy", "yaml", "cryptography", "psutil"))
    assert all(name in output for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_its_help(name: str) -> None:
    shown = CliRunner().invoke(entry, [name, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["nonsense"], 2), (["run"], 2), (["run", "--config", "none.yaml"], 3), (["status"], 2)],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code or 0) == code


def test_the_status_of_an_agent_that_does_not_run(config_path: Path) -> None:
    state_dir = config_path.parent / "state"
    WorkloadFolder(state_dir / "workloads" / "leaf").save(saved(State.DOWNLOAD))
    shown = CliRunner().invoke(entry, ["status", "--config", str(config_path), "--json"], catch_exceptions=False)
    found = json.loads(shown.output)
    assert (found["running"], found["fleet"], found["plan"]["plan_gen"]) == (False, "farm", 0)
    (workload,) = found["workloads"]
    assert (workload["state"], workload["gen"], workload["active"], workload["desired"]) == ("download", 5, C, A)
    text = CliRunner().invoke(entry, ["status", "--config", str(config_path)]).output
    assert "does not run" in text
    assert "leaf: download (gen 5)" in text


def test_the_status_of_a_fresh_device(config_path: Path) -> None:
    found = json.loads(CliRunner().invoke(entry, ["status", "--config", str(config_path), "--json"]).output)
    assert (found["workloads"], found["boots"], found["artifacts"]) == ([], 0, [])
    assert not (config_path.parent / "state").exists()
