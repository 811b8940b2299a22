"""Which files every worker needs: the interpreter, libraries, and what engines read of the system.

Decides: the list. Leaves out: bundle, kernels and results, which the one who starts the worker names. It is a list of
what is allowed: state folder, credentials, /etc/thresher and homes are not on it.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import agent
from agent.device.sandbox.landlock import DEVICE, LIST, READ, REWRITE, WRITE, Rule

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/proc", "/sys")
ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "localtime", "os-release")
ETC_OF_LIBRARIES = ("OpenCL", "nv_tegra_release", "nvidia-container-runtime", "ssl/openssl.cnf", "vulkan")
DEVICES = ("null", "zero", "full", "random", "urandom")
ACCELERATORS = (
    *("nvidia*", "nvhost*", "nvmap", "nvgpu", "nvsciipc"),
    *("dri", "kfd", "mali*", "galcore", "rknpu*", "apex_*", "hailo*", "accel"),
    *("dma_heap", "ion"),
)
"""Names under /dev of what computes; a worker's group must be allowed to open them as well."""

OPEN_TO_ALL = frozenset({Path("/"), Path("/home"), Path("/root"), Path("/etc"), Path("/var"), Path("/run")})
"""Never allowed as a whole, however they came onto the path of imports."""


def rules(package: str, readable: Iterable[Path], writable: Iterable[Path]) -> list[Rule]:
    """Return what a worker may use besides what is open already."""
    found = [(Path(name), READ) for name in SYSTEM]
    found += [(Path("/etc") / name, READ) for name in (*ETC, *ETC_OF_LIBRARIES)]
    found += [(Path("/dev") / name, DEVICE) for name in DEVICES]
    found += [(path, DEVICE) for name in ACCELERATORS for path in Path("/dev").glob(name)]
    found += imports(package)
    found += [(path, READ) for path in readable]
    found += [(path, WRITE) for path in writable]
    found.append((Path("/proc/self/clear_refs"), REWRITE))  # a measuring worker's peak starts anew
    return found


def imports(package: str) -> list[Rule]:
    """Return the folders that Python, its extensions and the worker's own package are loaded from."""
    root = Path(agent.__file__).resolve().parent.parent
    prefixes = {Path(each).resolve() for each in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    entries = {Path(each).resolve() for each in sys.path if each}
    libraries = {Path(each) for each in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if each}
    never = OPEN_TO_ALL | {root, Path.home()}
    found: list[Rule] = [(path, READ) for path in (prefixes | entries | libraries) - never]
    if not any(root.is_relative_to(each) for each in prefixes):
        # A checkout: state may lie in it, and keys. Its names may be listed, its packages read.
        found += [(root, LIST), *((root / name, READ) for name in {"agent", "wire", package})]
    return found
