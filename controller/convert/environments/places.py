"""Where converter environments lie, and which of them count.

Decides: the folder, the names, and that an environment counts only with the `complete.json` that an installation writes
last, made from the lock that this release ships. Leaves out: making one (`install.py`), running in one (`runner.py`).

    required("torch").versions["coremltools"]  # ConverterMissing names the command where it is not there
"""

import json
import os
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.convert.environments.locks import locks_of
from controller.errors import ConverterMissing, NotFound

NAMES = ("torch", "onnx2tf", "tensorflow")
FOLDER_VARIABLE = "THRESHER_CONVERTERS"
COMPLETE = "complete.json"
PYTHON = Path("venv") / "bin" / "python"


@dataclass(frozen=True)
class Environment:
    """A converter environment that is wholly installed.

    `python`: its interpreter. `versions`: distribution name -> version of everything in it.
    """

    name: str
    python: Path
    root: Path
    versions: dict[str, str]


def folder() -> Path:
    """Return where the environments lie: $THRESHER_CONVERTERS, else thresher/converters in the user's data folder."""
    return data_folder(FOLDER_VARIABLE, "converters")


def root_of(name: str) -> Path:
    """Return the folder of an environment, installed or not.

    Raises:
        NotFound: No environment has this name.
    """
    if name not in NAMES:
        raise NotFound(f"no converter environment is called {name!r}; there are {', '.join(NAMES)}")
    return folder() / name


def environment(name: str) -> Environment | None:
    """Return an environment, or null where it is not, not wholly, or from another release's lock installed.

    Raises:
        NotFound: No environment has this name.
    """
    root = root_of(name)
    return None if fault(name) else Environment(name, root / PYTHON, root, dict(complete(root)["versions"]))


def required(name: str) -> Environment:
    """Return an environment.

    Raises:
        ConverterMissing: It is not installed; the text names the command that installs it.
        NotFound: No environment has this name.
    """
    if (found := environment(name)) is None:
        raise ConverterMissing(
            f"the converter environment {name} {fault(name)}: run  controller model converters install {name}"
        )
    return found


def fault(name: str) -> str | None:
    """Return why an environment does not count, or null where it does."""
    root = root_of(name)
    if not root.is_dir():
        return "is not installed"
    record = complete(root)
    if not record:
        return "is only partly installed"
    if not (root / PYTHON).exists():
        return f"has lost its Python (it was made with Python {record['python']})"
    if record["lock_sha256"] not in {lock.digest for lock in locks_of(name).values()}:
        return "was made from another lock than this release's"
    return None


def complete(root: Path) -> dict[str, Any]:
    """Return what an installation wrote when it was done; empty where none was ever done."""
    return record_of(root, {"name", "python", "lock_sha256", "versions"})


def data_folder(variable: str, name: str) -> Path:
    """Return a folder for what is installed beside the controller.

    Args:
        variable: Of the environment; may name another one.
        name: Of the folder below thresher in the user's data folder.
    """
    if own := os.environ.get(variable):
        return Path(own).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "thresher" / name


def record_of(root: Path, needed: Set[str]) -> dict[str, Any]:
    """Return the `complete.json` of an installation; empty where there is none, or not all fields that are needed."""
    try:
        record = json.loads((root / COMPLETE).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and needed <= record.keys() else {}
