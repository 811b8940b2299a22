"""What the device has, as it tells the controller: processor, memory, system, engines, sensors, free disk.

Decides: which engines count as found: installed (by their package's metadata; importing them would load them into the
control process), allowed by the configuration, and able to do something when a process of their own looked. Leaves out:
whether an engine runs a given bundle (the self-test), how such a process looks (`inference/engines/probe.py`).
"""

import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from agent.child import worker_environment
from agent.config import AgentConfig
from agent.device.cpu import host_id, instruction_sets, soc_name
from agent.device.durable import write_durably
from agent.device.vitals import memory_bytes, sensor_names
from agent.errors import DiskFull
from agent.inference.engines.providers import PLUGIN_MODULES
from agent.inference.engines.table import TABLE
from agent.inference.limits import kernel_folder
from agent.warm import read_report
from wire.presence import EngineInfo, Inventory

log = logging.getLogger(__name__)

LOOK_S = 20.0

PROBE_S = 120.0
"""An engine that does not come to its senses by then is told as broken: a driver that hangs is no reason to wait."""

PROBED_NAME = "engines.json"


def installed_version(package: str) -> str | None:
    """Return the version of an installed package without importing it; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def agent_version() -> str:
    """Return this distribution's version; "source" where it runs from a checkout that is not installed."""
    return installed_version("thresher") or "source"


def find_engines(
    allowed: tuple[str, ...] | None, version_of: Callable[[str], str | None] = installed_version
) -> tuple[EngineInfo, ...]:
    """Return the engines that are installed and allowed; `allowed` null allows all."""
    found = []
    for engine, entry in TABLE.items():
        versions = [version for package in entry.packages if (version := version_of(package)) is not None]
        if versions and (allowed is None or engine in allowed):
            found.append(EngineInfo(name=engine, version=versions[0], formats=entry.formats))
    return tuple(found)


def look_at_engines(installed: tuple[EngineInfo, ...], cache_dir: Path) -> dict[str, Any]:
    """Return engine -> what it can really do here, or the `error` that keeps it from anything.

    Each engine is asked in a process of its own, once for its versions and this boot: a driver may come with the next.
    """
    path = cache_dir / PROBED_NAME
    key = _probe_key(installed)
    known = _read_probed(path, key)
    missing = [engine.name for engine in installed if engine.name not in known]
    if missing:
        known |= {name: _ask_engine(name, cache_dir) for name in missing}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, json.dumps({"key": key, "engines": known}).encode())
        except (OSError, DiskFull) as exc:
            log.warning("what engines can do is found out again at the next start: %s", exc)
    return known


def usable_engines(installed: tuple[EngineInfo, ...], known: dict[str, Any]) -> tuple[EngineInfo, ...]:
    """Return the engines that can do something, each with what."""
    return tuple(
        engine.model_copy(
            update={"providers": tuple(known[engine.name]["providers"]), "unusable": known[engine.name]["unusable"]}
        )
        for engine in installed
        if "error" not in known[engine.name]
    )


def _probe_key(installed: tuple[EngineInfo, ...]) -> str:
    """Digest of what the answer depends on."""
    parts = [agent_version(), sys.prefix, platform.python_version()]
    parts += [f"{engine.name} {engine.version}" for engine in installed]
    parts += [f"{module} {installed_version(module)}" for module in PLUGIN_MODULES]
    for name in ("/proc/sys/kernel/random/boot_id", "/proc/driver/nvidia/version"):
        try:
            parts.append(Path(name).read_text(encoding="utf-8"))
        except OSError:
            parts.append("")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _read_probed(path: Path, key: str) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes())
        engines: dict[str, Any] = kept["engines"] if kept["key"] == key else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return engines


def _ask_engine(name: str, cache_dir: Path) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "agent.inference.engines.probe", name, str(cache_dir)]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=PROBE_S, check=True, env=worker_environment(1))
        found: dict[str, Any] = json.loads(asked.stdout)
    except subprocess.CalledProcessError as exc:
        last = exc.stderr.decode(errors="replace").strip()[-200:] or "nothing"
        found = {"error": f"a process that imported it ended with {exc.returncode}; it said last: {last}"}
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        found = {"error": f"it could not be looked at: {exc}"[:400]}
    if "error" in found:
        log.warning("the engine %s is installed and cannot be used: %s", name, found["error"])
    return found


@cache
def sandbox_abilities() -> dict[str, str]:
    """Return what workers can be held by here; empty where it cannot be found out. Asked in a process of its own."""
    command = [sys.executable, "-P", "-m", "agent.device.sandbox"]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=LOOK_S, check=True, env=worker_environment(1))
        return {name: str(held).lower() for name, held in json.loads(asked.stdout).items()}
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        log.warning("what the sandbox can do here is not known: %s", exc)
        return {}


def kernel_form(config: AgentConfig) -> str | None:
    """Return how workers load the kernels: `library`, `llvmlite` or `numba`; null before they were compiled."""
    report = read_report(kernel_folder(config.kernel_cache))
    return report.form if report is not None else None


def take_inventory(
    config: AgentConfig, cap_by: str | None, disk_free_bytes: int, workloads: tuple[str, ...]
) -> Inventory:
    """Return what the device has now.

    Args:
        config: The agent's configuration.
        cap_by: What holds the workers' memory cap; null without a cap.
        disk_free_bytes: Left for artifacts [bytes].
        workloads: Names of the workloads that this device knows.
    """
    installed = find_engines(config.engines_allowed)
    known = look_at_engines(installed, config.kernel_cache)
    broken = {name: found["error"] for name, found in known.items() if "error" in found}
    return Inventory(
        fleet=config.fleet,
        device=config.device,
        soc=soc_name(),
        machine=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory_bytes(),
        memory_cap_bytes=config.memory_cap_bytes,
        memory_cap_by=cap_by,
        threads=config.threads,
        os=_os_name(),
        kernel=platform.release()[:200],
        python=platform.python_version(),
        isa=instruction_sets(),
        engines=usable_engines(installed, known),
        broken_engines={engine.name: broken[engine.name] for engine in installed if engine.name in broken},
        sensors=sensor_names(),
        disk_free_bytes=disk_free_bytes,
        labels=config.labels,
        emulated=config.emulated,
        host_id=host_id(host_name=platform.node()),
        workloads=workloads,
        sandbox=sandbox_abilities() if config.workers.sandbox != "off" else {},
        kernels=kernel_form(config),
    )


def is_32_bit() -> bool:
    """Return whether this Python is a 32-bit one: no engine has wheels for it."""
    return sys.maxsize < 2**32


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")[:200]
    except OSError:
        return platform.system()
