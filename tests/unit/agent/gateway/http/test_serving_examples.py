"""The examples of `docs/serving.md` for applications, carried out."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.gateway.http.problems import KINDS
from agent.gateway.http.request import BODY_TIMEOUT_S
from tests.unit.agent.gateway.http.http_kit import PATIENCE_S, ScriptedLane, Served, free_port, serving

PAGE = Path(__file__).parents[5] / "docs" / "serving.md"
SECTION = PAGE.read_text(encoding="utf-8").split("## Applications on the device\n")[1].split("\n## ")[0]
COMMANDS = re.findall(r"^    (curl .*)$", SECTION, flags=re.MULTILINE)
SOCKET, PORT = "/run/thresher/predict.sock", "8600"


@pytest.fixture
def leaves(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, socket=tmp_path / "s", http={"port": free_port()}) as served:
        served.lanes["leaves"] = ScriptedLane("leaves")
        yield served


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.usefixtures("leaves")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_for_curl_gets_an_answer(tmp_path: Path, command: str) -> None:
    np.save(tmp_path / "query.npy", np.zeros((1, 3)))
    asked = shlex.split(command.replace(SOCKET, str(tmp_path / "s")))
    done = subprocess.run(
        [*asked, "--fail", "--silent", "--show-error"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"leaves"' in done.stdout


def test_there_are_commands_of_every_kind() -> None:
    assert len(COMMANDS) == 3
    assert SOCKET in SECTION
    assert f"port: {PORT}" in SECTION


def test_the_program_prints_a_label(leaves: Served) -> None:
    assert leaves.settings.http is not None
    [program] = re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)
    program = program.replace(PORT, str(leaves.settings.http.port))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout == "oak\n"
    assert leaves.lanes["leaves"].asked[0].shape == (1, 3)


def test_the_table_of_problems_names_all_of_them() -> None:
    table = [line for line in SECTION.splitlines() if re.match(r"\| \d{3}", line)]
    assert {reason for line in table for reason in re.findall(r"`([a-z_]+)`", line)} >= KINDS.keys()
    for reason, kind in KINDS.items():
        [line] = [line for line in table if f"`{reason}`" in line]
        assert str(kind.status) in line.split("|")[1], reason
    assert f"not here within {BODY_TIMEOUT_S:g} s" in SECTION
