"""These tests with PyTorch from the converter environment `torch`, where the tests' own Python has none.

In a process of its own: with its packages on the path other tests would find engines that are not installed.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from controller.convert.environments.places import environment

_RUN = "import sys, pytest; sys.path.append(sys.argv[1]); sys.exit(pytest.main(sys.argv[2:]))"


@pytest.mark.long
def test_training_with_the_environment_s_own_pytorch() -> None:
    if find_spec("torch") is not None:
        pytest.skip("torch can be imported here: the tests beside this one ran")
    if (found := environment("torch")) is None:
        pytest.skip("the converter environment torch is not installed")
    packages = next((found.root / "venv" / "lib").glob("python*/site-packages"))
    files = sorted(str(each) for each in Path(__file__).parent.glob("test_*.py") if each != Path(__file__))
    command = [sys.executable, "-c", _RUN, str(packages), "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
