"""Which interpreter runs which engine, and how it is asked.

Decides: an engine that is installed beside this benchmark runs here; another in `FOLDER/ENGINE/bin/python`, where
`--environments FOLDER` names the folder; else its cells are not run. Leaves out: what is asked (`device.py`).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.inference.engines.table import TABLE
from agent.inventory import installed_version
from agent.warm import ensure_warm
from benchmarks.common import child_environment

ENVIRONMENTS_VARIABLE = "THRESHER_ENGINE_ENVIRONMENTS"
SAID_CHARACTERS = 600


class Device:
    """An interpreter that carries out orders, one after the other, each in a fresh worker of the agent's."""

    def __init__(self, python: Path, folder: Path) -> None:
        """Start it. `folder`: its own; kept between runs, so that kernels are compiled once."""
        kernels, cache = ensure_warm(), folder / "cache"
        shutil.copytree(kernels, cache / "kernels" / kernels.name, dirs_exist_ok=True)
        self.folder = folder
        self._said = (folder / "said.txt").open("w+")
        kept = {name: text for name, text in child_environment().items() if name != "VIRTUAL_ENV"}
        self._child = subprocess.Popen(
            [str(python), "-P", "-m", "benchmarks.engine_parts.device", str(folder), str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=folder,
            env=kept,
        )

    def order(self, **fields: Any) -> dict[str, Any]:
        """Return what a fresh worker made of an order.

        Raises:
            RuntimeError: The interpreter ended; the text has the last it said.
        """
        return self._ask({"order": {name: _plain(value) for name, value in fields.items()}})

    def about(self, engine: str) -> dict[str, Any]:
        """Return an engine's version and size there, and its `error` where it does not work.

        Raises:
            RuntimeError: As above.
        """
        return self._ask({"about": engine})

    def close(self) -> None:
        """End it."""
        self._child.communicate(timeout=60)
        self._said.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._said.seek(0)
            raise RuntimeError(f"the interpreter of an engine ended: {self._said.read()[-SAID_CHARACTERS:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Devices:
    """The interpreters of a run, by engine; each is started when it is first asked for."""

    def __init__(self, folder: Path, environments: Path | None) -> None:
        self._folder, self._environments = folder, environments
        self._devices: dict[Path, Device] = {}

    def missing(self, engine: str) -> str | None:
        """Return why an engine is not run, or null where it is."""
        if self._python(engine) is not None:
            return None
        where = f"{self._environments}/{engine}" if self._environments else "any environment that was given"
        return f"{engine} is installed neither beside the benchmark nor in {where}: give --environments FOLDER"

    def of(self, engine: str) -> Device:
        """Return the interpreter of an engine that is not missing."""
        python = self._python(engine)
        assert python is not None, f"{engine} is missing"
        if python not in self._devices:
            name = "here" if python == Path(sys.executable) else engine
            folder = self._folder / name
            folder.mkdir(parents=True, exist_ok=True)
            self._devices[python] = Device(python, folder)
        return self._devices[python]

    def close(self) -> None:
        """End them all."""
        for device in self._devices.values():
            device.close()

    def _python(self, engine: str) -> Path | None:
        if any(installed_version(package) for package in TABLE[engine].packages):
            return Path(sys.executable)
        own = self._environments / engine / "bin" / "python" if self._environments else None
        return own if own is not None and own.exists() else None


@contextmanager
def devices(folder: Path, environments: Path | None) -> Iterator[Devices]:
    """Have interpreters for as long as this lasts."""
    found = Devices(folder, environments)
    try:
        yield found
    finally:
        found.close()


def given_environments() -> Path | None:
    """Return the folder that the variable names."""
    named = os.environ.get(ENVIRONMENTS_VARIABLE)
    return Path(named) if named else None


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
