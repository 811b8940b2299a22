"""The environments of other toolkits: a lock each in this project, and a virtual environment made from it.

Decides: what is installed (the lock, by its digests, and of torch the CPU build alone) and which environment counts.
Leaves out: what runs in them (`programs`). PyTorch's own quantiser has none: it is part of the converter environment
`torch`. An environment lies in FOLDER/NAME; FOLDER/NAME/complete.txt holds the digest of the lock that made it.

    python -m benchmarks.compression.peers install nncf --folder FOLDER
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.common import repository
from controller.bundle.atomic import write_whole
from controller.convert.environments import environment
from tools.lock import pins, with_cpu_builds

NAMES = ("onnxruntime", "ai-edge-quantizer", "nncf", "olive")
CONVERTER = "torch"
"""The converter environment that has PyTorch's quantiser and ExecuTorch's."""

VERSION = "3.11"
LOCKS = Path(__file__).parent / "locks"
CPU_BUILDS = "locks/torch-cpu.txt"
COMPLETE = "complete.txt"
HEADER = """\
# {name}, Python {version}: every package with the digests of its files, written by
#     python -m benchmarks.compression.peers lock {name}
"""


class NotInstalled(Exception):
    """An environment was not made; the text says why, and what to do."""


def lock(name: str) -> Path:
    """Resolve an environment's `.in` and write its lock.

    Raises:
        subprocess.CalledProcessError: It cannot be resolved; uv has printed why.
    """
    source, path = LOCKS / f"{name}.in", LOCKS / f"{name}.txt"
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", str(source), "--quiet", "--no-header"]
    command += ["--no-annotate", "--generate-hashes", "--python-version", VERSION, "--output-file", str(path)]
    command += ["--constraint", "locks/constraints.in"]
    subprocess.run(command, cwd=repository(), check=True)
    path.write_text(HEADER.format(name=name, version=VERSION) + with_cpu_builds(path.read_text()))
    return path


def install(name: str, folder: Path, python: Path) -> Path:
    """Make an environment anew, unless it is there; return its interpreter.

    Raises:
        NotInstalled: Another Python than the lock's, or venv or pip failed; the text has the last that they said.
    """
    if (found := python_of(name, folder)) is not None:
        return found
    place = (folder / name).absolute()
    _told([str(python), "-c", f"import sys; assert sys.version.startswith('{VERSION}.'), 'Python {VERSION} is needed'"])
    _told([str(python), "-m", "venv", "--clear", str(place)])
    command = [str(place / "bin" / "python"), "-m", "pip", "install", "--no-deps", "--require-hashes"]
    command += ["-r", str(LOCKS / f"{name}.txt")]
    if any(pin.startswith("torch==") for pin in pins((LOCKS / f"{name}.txt").read_text())):
        # The registry's own build would bring gigabytes for processors that nothing here uses.
        command += ["-c", CPU_BUILDS]
    _told(command)
    write_whole(place / COMPLETE, lock_digest(name).encode())
    return place / "bin" / "python"


def python_of(name: str, folder: Path) -> Path | None:
    """Return the interpreter of an environment, or null where it is not there or was made from another lock."""
    if name == CONVERTER:
        found = environment(CONVERTER)
        return None if found is None else found.python
    made = folder / name / COMPLETE
    if not made.is_file() or made.read_text() != lock_digest(name):
        return None
    return (folder / name / "bin" / "python").absolute()


def missing(name: str) -> str:
    """Return what to do where an environment is not there."""
    if name == CONVERTER:
        return f"the converter environment is not installed: run  controller model converters install {CONVERTER}"
    command = f"python -m benchmarks.compression.peers install {name} --folder FOLDER"
    return f"the environment {name} is not installed: run  {command}"


def lock_digest(name: str) -> str:
    """Return what decides an environment."""
    return hashlib.sha256((LOCKS / f"{name}.txt").read_bytes()).hexdigest()


def _told(command: list[str]) -> None:
    done = subprocess.run(command, cwd=repository(), capture_output=True, text=True, check=False)
    if done.returncode:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise NotInstalled(f"{' '.join(command[:5])} … failed with exit code {done.returncode}: {said}")
