"""Make and remove converter environments, whole or not at all.

Decides: what an installation checks first, and what is left when one fails or is killed: at most a folder without
`complete.json`, which counts for nothing and goes at the next one. Leaves out: its steps (`make.py`) and which
environments count (`places.py`).

    plan("torch").download_bytes; install("torch", progress); remove("torch")
"""

import shutil
from pathlib import Path
from typing import Any

from controller.bundle.atomic import disk_full, means_no_room
from controller.convert.environments import interpreters
from controller.convert.environments.hold import exclusive
from controller.convert.environments.locks import locks_of
from controller.convert.environments.make import Plan, check_room, make
from controller.convert.environments.pip import Progress
from controller.convert.environments.places import (
    COMPLETE,
    NAMES,
    Environment,
    complete,
    environment,
    fault,
    root_of,
)
from controller.errors import PythonMissing


def plan(name: str, python: Path | None = None) -> Plan:
    """Return what installing an environment would do.

    Args:
        name: One of `NAMES`.
        python: Interpreter to use; looked for where it is null.
    Raises:
        NotFound: No environment has this name.
        PythonMissing: No Python that a lock is for.
    """
    root, locks = root_of(name), locks_of(name)
    try:
        version, found = interpreters.find(list(locks), python)
    except PythonMissing as exc:
        raise PythonMissing(f"converter environment {name}: {exc}") from exc
    lock = locks[version]
    return Plan(name, root, lock, found, len(lock.pins), lock.download_bytes, lock.installed_bytes)


def install(name: str, progress: Progress, python: Path | None = None) -> Environment:
    """Make an environment from its lock, unless it is there already, and return it.

    Args:
        name: One of `NAMES`.
        progress: Is told how far it is.
        python: Interpreter to use; looked for where it is null.
    Raises:
        NotFound: No environment has this name.
        Busy: It is being installed or removed, or used.
        PythonMissing: No Python that a lock is for.
        DiskFull: No room.
        ConverterNotInstalled: pip failed, or what it installed does not work here. Nothing is left.
    """
    root = root_of(name)
    with exclusive(root) as held:
        if (found := environment(name)) is not None:
            return found
        wanted = plan(name, python)
        check_room(root, wanted.lock)
        if root.exists():
            shutil.rmtree(root)
        try:
            return make(wanted, progress, held)
        except OSError as exc:
            if means_no_room(exc):
                raise disk_full(root) from exc
            raise
        finally:
            if fault(name):
                shutil.rmtree(root, ignore_errors=True)


def remove(name: str) -> bool:
    """Remove an environment; return whether there was anything of it.

    Raises:
        NotFound: No environment has this name.
        Busy: It is being installed or removed, or used.
    """
    root = root_of(name)
    if not root.exists():
        return False
    with exclusive(root):
        # First the file that makes it count: a removal that is killed leaves nothing that looks whole.
        (root / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(root)
    return True


def listing() -> list[dict[str, Any]]:
    """Return for each environment what it is, as JSON types; `fault` says why it does not count, null: it does."""
    return [_row(name) for name in NAMES]


def _row(name: str) -> dict[str, Any]:
    root = root_of(name)
    record = complete(root)
    return {
        "name": name,
        "installed": fault(name) is None,
        "fault": fault(name),
        "folder": str(root),
        "pythons": list(locks_of(name)),
        "python": record.get("python"),
        "disk_bytes": record.get("disk_bytes"),
        "versions": record.get("versions", {}),
    }
