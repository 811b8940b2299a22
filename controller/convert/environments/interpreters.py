"""Find a Python of the version that a lock is for.

Decides: where is looked (the one that runs this, the path, the folders of pyenv and uv) and what an interpreter must be
able to do. Leaves out: installing one.

    find(["3.13", "3.12"])  # ("3.13", Path("/usr/bin/python3.13"))
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from controller.errors import PythonMissing

_PROBE = "import sys, ensurepip, venv; print(*sys.version_info[:2], sep='.')"
_LONGEST_PROBE_S = 60.0


def find(versions: Sequence[str], own: Path | None = None) -> tuple[str, Path]:
    """Return the first version that an interpreter is found for, and that interpreter.

    Args:
        versions: Like "3.11"; the one that is wanted most comes first.
        own: An interpreter that the user names; no other is looked for then.
    Raises:
        PythonMissing: None is found that can make environments; the text says which versions would do.
    """
    unfit: list[str] = []
    for version in versions:
        for candidate in [own] if own else candidates(version):
            found, fault = probe(candidate)
            if found == version:
                return version, candidate
            unfit += [f"{candidate} {fault or f'is Python {found}'}"]
    wanted = " or ".join(versions)
    looked = f" ({'; '.join(dict.fromkeys(unfit))})" if unfit else ""
    raise PythonMissing(
        f"this needs Python {wanted}, and none was found that can make an environment{looked}: install python"
        f"{versions[-1]} with its venv module, or `uv python install {versions[-1]}`, or name one with --python"
    )


def candidates(version: str) -> Iterator[Path]:
    """Yield interpreters that may be of a version, each file once."""
    program, seen = f"python{version}", set()
    for folder in _folders(version):
        path = folder / program
        if path.is_file() and os.access(path, os.X_OK) and (real := path.resolve()) not in seen:
            seen.add(real)
            yield path


def _folders(version: str) -> Iterator[Path]:
    # The one beneath this environment: an environment made from an environment's Python depends on that one.
    yield Path(sys.base_prefix) / "bin"
    yield from (Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry)
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin"), reverse=True)
    data = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    yield from sorted(uv.glob(f"cpython-{version}.*/bin"), reverse=True)


def probe(python: Path) -> tuple[str | None, str | None]:
    """Return (version, null) of an interpreter that can make environments, else (null, what is wrong with it)."""
    if shutil.which(str(python)) is None:
        return None, "is no program"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [python, "-I", "-c", _PROBE], capture_output=True, text=True, env=variables, timeout=_LONGEST_PROBE_S,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        return None, f"does not run ({exc})"
    if done.returncode == 0:
        return done.stdout.strip(), None
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return None, f"makes no environments ({last[:200]})"
