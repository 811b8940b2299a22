"""Compile every kernel now, so that nothing is compiled while an application waits or a trial is timed.

    python -m agent.warm [CACHE_DIR]        prints one JSON object

Decides: that the kernels' machine code is kept in the best form that the device can make (a library, else an object);
that a second process proves that it is found, and says which form workers will use; and that numba's cache is filled
where that form is numba. Runs in child processes: the control process stays light. What is warm is only looked at, so
that a unit may call this before each start, and a worker that may not write there never has to.
"""

import fcntl
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.errors import EngineFailed
from agent.inference.kept import expected_digests, whole
from agent.inference.limits import kernel_folder

REPORT_NAME = "warm.json"
TIMEOUT_S = 900
"""A Raspberry Pi 3 needs minutes where a server needs seconds."""


@dataclass(frozen=True)
class WarmReport:
    """How a fresh process found the kernels, and why not as a library.

    form: how workers will load kernels: `library`, `llvmlite` or `numba`. kept_s: making library and object [s].
    compiled_s: kernel -> seconds, where numba's cache was filled for want of another form.
    """

    folder: str
    kept_s: float
    refused: str
    form: str
    cache_hits: int
    cache_misses: int
    load_ms: float
    compiled_s: dict[str, float] = field(default_factory=dict)


def ensure_warm(cache_dir: Path | None = None, *, force: bool = False) -> Path:
    """Compile the kernels unless this release has done so on this processor; return their folder.

    Args:
        cache_dir: Under which compiled kernels are kept; None: the user's cache.
        force: Compile in any case.
    Raises:
        EngineFailed: The child process failed (its last output is in the text), or the folder cannot be written.
    """
    folder = kernel_folder(cache_dir)
    if not force and read_report(folder) is not None:
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("a") as lock:
            # Workers that start together compile once: the others wait and find it done.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if force or read_report(folder) is None:
                warm(cache_dir)
    except OSError as exc:
        raise EngineFailed(f"kernels cannot be kept in {folder}: {exc}; name another cache folder") from exc
    return folder


def read_report(folder: Path) -> WarmReport | None:
    """Return the report of the kernels in `folder`; None where they are not all there, each as it was written."""
    try:
        report = WarmReport(**json.loads((folder / REPORT_NAME).read_bytes()))
        digests = expected_digests(folder)
        if not digests and "numba" not in report.form:
            return None  # what workers would load has nothing to be held against
        for name in digests:
            whole(folder, name)
    except (OSError, ValueError, TypeError):
        return None
    return report


def warm(cache_dir: Path | None = None) -> WarmReport:
    """Compile all kernels in a child process, then check in another that they are found.

    Args:
        cache_dir: Under which compiled kernels are kept; None: the user's cache.
    Raises:
        EngineFailed: A child failed, kernels were compiled again where they should have been found, or the agent's
            files were replaced meanwhile.
    """
    folder = kernel_folder(cache_dir)
    made, found = _child("compile", cache_dir), _child("check", cache_dir)
    if "numba" in found["form"]:
        made |= _child("fill", cache_dir)
        found = _child("check", cache_dir)
    report = WarmReport(**made, **found)
    if report.folder != str(folder):
        raise EngineFailed(f"kernels lie in {report.folder}, expected {folder}: files were replaced; start again")
    if report.cache_misses:
        raise EngineFailed(f"{report.cache_misses} kernels were not found in {folder}: can the agent write there?")
    temporary = folder / f"{REPORT_NAME}.{os.getpid()}"
    temporary.write_text(json.dumps(asdict(report)))
    temporary.chmod(0o644)  # workers may run as another user
    os.replace(temporary, folder / REPORT_NAME)
    return report


def _child(step: str, cache_dir: Path | None) -> dict[str, Any]:
    import subprocess  # a worker only looks, and starts nothing

    from agent.child import worker_environment

    command = [sys.executable, "-m", "agent.inference.kernels.build", step]
    command += [] if cache_dir is None else [str(cache_dir)]
    ended = subprocess.run(command, env=worker_environment(1), capture_output=True, timeout=TIMEOUT_S, check=False)
    if ended.returncode != 0:
        tail = ended.stderr.decode(errors="replace").strip()[-600:]
        raise EngineFailed(f"kernels cannot be compiled ({step}, exit code {ended.returncode}): {tail}")
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def main(arguments: list[str]) -> int:
    """Compile, check, print the report; return the exit code."""
    print(json.dumps(asdict(warm(Path(arguments[0]) if arguments else None))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
