"""Make the clone's virtual environment what a lock says, once per lock: `python tools/environment.py demo`.

Decides: which lock belongs to the interpreter, whether the environment is up to date, and what is installed. Leaves
out: how locks are made (`tools/lock.py`). It runs before anything is installed: the standard library is all it needs.
An environment that is there already is kept and brought up to date, never deleted.
"""

from __future__ import annotations  # an older Python must get as far as the message that refuses it

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
OLDEST, NEWEST = (3, 11), (3, 13)
LOCKS_INSIDE = {"dev": ("demo",)}
"""Locks that another one holds whole: an environment made from `dev` serves `demo` too."""


class Refused(Exception):
    """The environment cannot be made; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring the environment up to date; return the exit code (0 ok, 3 the interpreter or the lock will not do)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("lock", help="name of a lock in locks/, without its Python version")
    options = parser.parse_args(arguments)
    try:
        prepare(options.lock)
    except Refused as exc:
        print(f"thresher: {exc}", file=sys.stderr)
        return 3
    except subprocess.CalledProcessError as exc:
        print(f"thresher: {' '.join(map(str, exc.cmd))} ended with {exc.returncode}", file=sys.stderr)
        return 1
    return 0


def prepare(lock: str) -> None:
    """Create the environment where there is none, and install `lock` where it is not what was installed last."""
    if not (ENVIRONMENT / "bin" / "python").exists():
        _create()
    path = lock_file(lock, _version_of(ENVIRONMENT / "bin" / "python"))
    if not path.is_file():
        raise Refused(f"there is no {path.relative_to(ROOT)}; run  make lock  to see which locks can be made")
    wanted = fingerprint(path)
    if _installed().get(lock) != wanted:
        _install(path)
        _record({lock, *LOCKS_INSIDE.get(lock, ())}, wanted, path)


def lock_file(lock: str, version: tuple[int, int]) -> Path:
    """Return the path of a lock for an interpreter.

    Raises:
        Refused: Thresher does not run on this Python.
    """
    if not OLDEST <= version <= NEWEST:
        raise Refused(
            f"Python {version[0]}.{version[1]} will not do: Thresher runs on 3.11 to 3.13. "
            "Name another interpreter:  make PYTHON=/path/to/python3.11 demo"
        )
    return ROOT / "locks" / f"{lock}-py{version[0]}.{version[1]}.txt"


def fingerprint(path: Path) -> str:
    """Return a digest of everything that an installation depends on: the lock and the distribution's own metadata."""
    import tomllib  # only from 3.11 on

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    own = [settings["build-system"], settings["project"], settings["tool"]["setuptools"]]
    return hashlib.sha256(path.read_bytes() + json.dumps(own, sort_keys=True).encode()).hexdigest()


def _create() -> None:
    lock_file("demo", sys.version_info[:2])  # refuse before anything is written
    print(f"thresher: making .venv with Python {sys.version_info[0]}.{sys.version_info[1]}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)


def _version_of(python: Path) -> tuple[int, int]:
    code = "import sys; print(*sys.version_info[:2])"
    shown = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return int(shown[0]), int(shown[1])


def _install(path: Path) -> None:
    print(f"thresher: installing {path.relative_to(ROOT)} (a few minutes the first time)", flush=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    environment = {**os.environ, "PIP_NO_INPUT": "1"}
    subprocess.run([*pip, "--require-hashes", "-r", str(path)], check=True, env=environment)
    # The build backend is in the lock, so nothing is fetched for this.
    own = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    subprocess.run([*pip, *own], check=True, env=environment)


def _stamp() -> Path:
    return ENVIRONMENT / "thresher-locks.json"


def _installed() -> dict[str, str]:
    """Return lock name -> fingerprint of what the environment holds."""
    try:
        stamp: dict[str, str] = json.loads(_stamp().read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return stamp


def _record(locks: set[str], wanted: str, path: Path) -> None:
    """Write what was installed. Other locks' entries go: pip may have changed versions under them."""
    version = path.stem.rsplit("-", 1)[1]
    inside = {lock: path.with_name(f"{lock}-{version}.txt") for lock in locks}
    stamp = {lock: wanted if file == path else fingerprint(file) for lock, file in inside.items() if file.is_file()}
    _stamp().write_text(json.dumps(stamp, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
