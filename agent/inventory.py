"""What the device has, as it tells the controller: processor, memory, system, engines, sensors, free disk.

Decides: which engines count as found: installed (by their package's metadata; importing them would load them into the
control process) and allowed by the configuration. Leaves out: whether an engine runs a given bundle (the self-test).
"""

import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import metadata

from agent.child import worker_environment
from agent.config import AgentConfig
from agent.device.cpu import host_id, instruction_sets, soc_name
from agent.device.vitals import memory_bytes, sensor_names
from agent.inference.limits import kernel_folder
from agent.warm import read_report
from wire.presence import EngineInfo, Inventory

log = logging.getLogger(__name__)

LOOK_S = 20.0

ENGINE_PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "litert": ("ai-edge-litert", "ai-edge-litert-nightly"),
}
"""engine -> the packages that bring it, first found first used."""

ENGINE_FORMATS = {"onnxruntime": ("onnx",), "litert": ("tflite",)}


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
    for engine, packages in ENGINE_PACKAGES.items():
        versions = [version for package in packages if (version := version_of(package)) is not None]
        if versions and (allowed is None or engine in allowed):
            found.append(EngineInfo(name=engine, version=versions[0], formats=ENGINE_FORMATS[engine]))
    return tuple(found)


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
        engines=find_engines(config.engines_allowed),
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
