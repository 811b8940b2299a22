"""A program that is called as the emulator is, and runs what it is given on this machine's own processor."""

import os
import sys
from pathlib import Path

import pytest

SCRIPT = """\
#!/bin/sh
case "$*" in
    --version) echo "{name} version {version} (a fake)"; exit ;;
    "-cpu help") echo "Available CPUs:"; for model in {models}; do echo "  $model"; done; exit ;;
esac
echo "$@" >>"{folder}/{name}.log"
shift 2
# A processor with a root names its Python there: this machine's stands for it.
if [ "$1" = -L ]; then shift 3; set -- "{python}" "$@"; fi
{body}
exec "$@"
"""
MODELS = {"qemu-x86_64": "Haswell Haswell-noTSX", "qemu-aarch64": "cortex-a72 cortex-a76"}


def put_emulator(
    folder: Path, name: str, *, version: str = "7.2.22", models: str | None = None, body: str = ""
) -> Path:
    """Write an emulator into a folder and return its file.

    Args:
        folder: Gets it, and `NAME.log` with a line for each run.
        name: As it is called.
        version: That it tells.
        models: Processors that it knows; those of the real one where it is null.
        body: Lines of shell, done before the program is run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    known = MODELS[name.removesuffix("-static")] if models is None else models
    path.write_text(
        SCRIPT.format(name=name, version=version, models=known, folder=folder, python=sys.executable, body=body)
    )
    path.chmod(0o755)
    return path


def use(folder: Path, monkeypatch: pytest.MonkeyPatch, *, alone: bool = False) -> None:
    """Let programs of a folder be found first; with `alone`, no others."""
    monkeypatch.setenv("PATH", str(folder) if alone else os.pathsep.join([str(folder), os.environ["PATH"]]))


def runs(folder: Path, name: str) -> list[str]:
    """Return the arguments of each run so far."""
    log = folder / f"{name}.log"
    return log.read_text().splitlines() if log.exists() else []
