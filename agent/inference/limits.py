"""What a worker imposes on itself before anything heavy is imported: cores, thread pools, memory, cache folders.

Decides: which variables and limits, and where compiled kernels are kept. Leaves out: cgroups (the parent's work).
Numeric libraries read their thread variables once, at import, so this module imports none of them.
"""

import hashlib
import os
import platform
import resource
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import agent
from agent.errors import ConfigurationError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
KERNEL_SOURCES = Path(__file__).parent / "kernels"
ENGINE_CACHE_VARIABLE = "THRESHER_ENGINE_CACHE"
"""Where engines that compile models keep the result."""


def apply_limits(
    threads: int,
    affinity: Sequence[int] | None = None,
    memory_cap_bytes: int | None = None,
    memory_cap_by: str = "rlimit",
    cache_dir: Path | None = None,
) -> None:
    """Hold this process to its order, from now on.

    Args:
        threads: Engine threads. Other numeric libraries get one: an idle pool still takes memory and cores.
        affinity: Cores it may run on; None leaves them as inherited.
        memory_cap_bytes: Most private writable memory [bytes].
        memory_cap_by: `rlimit` sets the cap here (RLIMIT_DATA); `parent` says that who started us saw to it.
        cache_dir: Folder under which compiled kernels are kept; None: the user's cache.
    Raises:
        ConfigurationError: A core that does not exist, or a cap above the hard limit.
    """
    try:
        if affinity:
            os.sched_setaffinity(0, affinity)
        if memory_cap_bytes is not None and memory_cap_by == "rlimit":
            resource.setrlimit(resource.RLIMIT_DATA, (memory_cap_bytes, memory_cap_bytes))
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"cores {affinity} or cap {memory_cap_bytes} cannot be imposed: {exc}") from exc
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    os.environ["THRESHER_ENGINE_THREADS"] = str(threads)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["NUMBA_CACHE_DIR"] = str(kernel_folder(cache_dir))
    os.environ[ENGINE_CACHE_VARIABLE] = str(engine_folder(cache_dir))


def kernel_folder(cache_dir: Path | None) -> Path:
    """Return where this release's kernels, compiled for this processor, are kept.

    Cache files are pickles and machine code: the folder belongs to the agent's user and nothing in it is fetched.
    """
    version = getattr(agent, "__version__", "0")
    return base_folder(cache_dir) / "kernels" / f"{version}-{platform.machine()}-{_fingerprint()}"


def engine_folder(cache_dir: Path | None) -> Path:
    """Return where models that an engine has compiled for this device are kept, a folder each.

    They are machine code as well: the folder belongs to the agent's user and nothing in it is fetched.
    """
    return base_folder(cache_dir) / "engines"


def base_folder(cache_dir: Path | None) -> Path:
    """Return the folder of all that is compiled: `cache_dir`, else one in the user's cache."""
    return cache_dir or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thresher"


@cache
def _fingerprint() -> str:
    """Digest of processor, interpreter and kernel sources: code for another one must never be loaded."""
    digest = hashlib.sha256(f"{_processor()}|{platform.python_version()}".encode())
    for source in sorted(KERNEL_SOURCES.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    wanted = ("model name", "flags", "Features", "CPU part", "CPU implementer")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return platform.processor()
    return "|".join(line.partition(":")[2].strip() for line in lines if line.startswith(wanted))
