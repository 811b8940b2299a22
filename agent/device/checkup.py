"""What the agent needs on a device, and what to do where it is missing.

Decides: which lacks stop the agent (`missing`) and which only cost something (`warning`). Leaves out: printing.
"""

import shutil
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from agent.child import cap_kind
from agent.config import AgentConfig
from agent.device.identity import BUILT_S
from agent.inventory import find_engines, installed_version, is_32_bit

Verdict = Literal["ok", "warning", "missing"]

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
LEAST_DISK_BYTES = 512 * 1024 * 1024
CONNECT_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Finding:
    """One check: what was found, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""

    def as_document(self) -> dict[str, str]:
        return asdict(self)


def check_up(config: AgentConfig | None, root: Path = Path("/")) -> list[Finding]:
    """Return all findings; without a configuration those that need none."""
    findings = [_python(), _word_size(), _engines(config), _kernels(), _cgroup(), _pressure(root), _clock()]
    if config is not None:
        findings += [_disk(config), _cache(config), _broker(config)]
    return findings


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Finding("python", "ok", version)
    return Finding("python", "missing", version, "install Python 3.11 to 3.13, for example with uv")


def _word_size() -> Finding:
    if is_32_bit():
        return Finding("64 bit", "missing", "a 32-bit Python", "install a 64-bit system: engines have no 32-bit wheels")
    return Finding("64 bit", "ok", "a 64-bit Python")


def _engines(config: AgentConfig | None) -> Finding:
    engines = find_engines(config.engines_allowed if config is not None else None)
    if engines:
        return Finding("engines", "ok", ", ".join(f"{engine.name} {engine.version}" for engine in engines))
    remedy = "pip install 'thresher[onnxruntime]' or 'thresher[litert]', and allow it in engines_allowed"
    return Finding("engines", "missing", "none", remedy)


def _kernels() -> Finding:
    versions = {package: installed_version(package) for package in ("numpy", "numba")}
    lacking = [package for package, version in versions.items() if version is None]
    if lacking:
        return Finding("kernels", "missing", f"{', '.join(lacking)} not installed", "pip install 'thresher[kernels]'")
    return Finding("kernels", "ok", ", ".join(f"{package} {version}" for package, version in versions.items()))


def _cgroup() -> Finding:
    if cap_kind() == "cgroup":
        return Finding("memory cap", "ok", "cgroup")
    remedy = "run the agent under systemd with Delegate=memory for a cap that covers all of a worker's memory"
    return Finding("memory cap", "warning", "rlimit: no cgroup may be made here", remedy)


def _pressure(root: Path) -> Finding:
    if (root / "proc/pressure/cpu").exists():
        return Finding("pressure (PSI)", "ok", "/proc/pressure")
    remedy = "boot with psi=1: without it a busy device is not noticed before a measurement"
    return Finding("pressure (PSI)", "warning", "absent", remedy)


def _clock() -> Finding:
    now_s = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s >= BUILT_S:
        return Finding("clock", "ok", shown)
    return Finding("clock", "warning", shown, "let the device reach a time server: the clock lies before this release")


def _disk(config: AgentConfig) -> Finding:
    folder = next(path for path in (config.state_dir, *config.state_dir.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free // 1024**2} MiB free for {config.state_dir}"
    if free >= LEAST_DISK_BYTES:
        return Finding("disk", "ok", found)
    return Finding("disk", "warning", found, f"free {LEAST_DISK_BYTES // 1024**2} MiB or more for bundles")


def _cache(config: AgentConfig) -> Finding:
    from agent.inference.limits import kernel_folder
    from agent.warm import REPORT_NAME

    folder = kernel_folder(config.kernel_cache)
    if (folder / REPORT_NAME).is_file():
        return Finding("kernel cache", "ok", str(folder))
    return Finding("kernel cache", "warning", f"{folder} is cold", "run `agent warm --config FILE` once")


def _broker(config: AgentConfig) -> Finding:
    where = f"{config.broker.host}:{config.broker.port}"
    try:
        socket.create_connection((config.broker.host, config.broker.port), CONNECT_TIMEOUT_S).close()
    except OSError as exc:
        remedy = "start the broker, or correct broker.host and broker.port; the agent keeps trying and serves meanwhile"
        return Finding("broker", "warning", f"{where} does not answer ({exc})", remedy)
    return Finding("broker", "ok", f"{where} answers")
