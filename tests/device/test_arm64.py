"""The arm64 script from a fresh folder, as the README's device section has it; needs a Debian host and half an hour.

.venv/bin/python -m pytest -m device tests/device/test_arm64.py
"""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("arm64.sh")
LONGEST_S = 7200

pytestmark = [pytest.mark.device, pytest.mark.long, pytest.mark.timeout(LONGEST_S)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user reaches: pytest's own belong to one."""
    with tempfile.TemporaryDirectory(prefix="thresher-arm64-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_an_emulated_arm64_device_is_installed_answers_alike_and_takes_a_deploy(folder: Path) -> None:
    done = subprocess.run([SCRIPT, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    assert done.stdout.splitlines()[-1] == "PASS  all"
