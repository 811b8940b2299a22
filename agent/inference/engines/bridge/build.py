"""Compile the bridge to ExecuTorch's runtime, once for its version: `agent warm` and the inventory see to it.

    python -P -m agent.inference.engines.bridge.build [CACHE_DIR]       prints one JSON object

Decides: which compiler, where the library lies, and that it is whole or not there. Leaves out: loading it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from agent.errors import EngineUnavailable
from agent.inference.engines.base import package_version
from agent.inference.engines.bridge.library import RUNTIME, SOURCE, bridge_path, runtime_folder

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-fvisibility=hidden")
DEFINITIONS = ("-DC10_USING_CUSTOM_GENERATED_MACROS", "-DET_EVENT_TRACER_ENABLED", "-DET_USE_THREADPOOL")
"""Those with which the wheel's libraries were built, as its `executorch-config.cmake` says."""

TIMEOUT_S = 600
"""Seconds on a server; a small board reads many headers slowly."""


def ensure_bridge(cache_dir: Path | None = None) -> Path:
    """Return the bridge for the ExecuTorch that is installed, compiled now where nobody has.

    Raises:
        EngineUnavailable: No ExecuTorch with a C++ runtime, no compiler, one that refuses, or no folder to keep it in.
    """
    path, folder = bridge_path(cache_dir), runtime_folder()
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            made = Path(work) / path.name
            _compile(folder, made)
            made.chmod(0o644)  # workers may run as another user
            os.replace(made, path)
    except OSError as exc:
        because = f"{path.name} cannot be kept in {path.parent}: {exc.strerror or exc}"
        raise EngineUnavailable(f"ExecuTorch's bridge is not compiled, and {because}; run `agent warm`") from exc
    return path


def _compile(folder: Path, made: Path) -> None:
    found = next((path for name in COMPILERS if (path := shutil.which(name)) is not None), None)
    if found is None:
        raise EngineUnavailable(
            f"ExecuTorch needs a C++ compiler once, to reach its runtime without torch, and none of "
            f"{', '.join(COMPILERS)} is installed: apt install g++, then run `agent warm`"
        )
    includes = (folder / "include", folder / "include/executorch/runtime/core/portable_type/c10")
    command = [found, *FLAGS, *DEFINITIONS, *(f"-I{path}" for path in includes), str(SOURCE), "-o", str(made)]
    command += [f"-L{folder / 'lib'}", *(f"-l:{name}" for name in RUNTIME[:2])]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise EngineUnavailable(f"{found} took more than {TIMEOUT_S} s for ExecuTorch's bridge") from exc
    if ended.returncode != 0:
        text = ended.stderr.decode(errors="replace").strip()[:600]
        version = package_version("executorch")
        raise EngineUnavailable(f"{found} cannot compile the bridge to ExecuTorch {version}: {text}")


def main(arguments: list[str]) -> int:
    """Compile the bridge if need be, print where it lies, and return the exit code."""
    print(json.dumps({"bridge": str(ensure_bridge(Path(arguments[0]) if arguments else None))}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
