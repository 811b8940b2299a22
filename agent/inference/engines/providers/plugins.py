"""Execution providers that are libraries of their own: plug-ins, which ONNX Runtime registers from 1.23 on.

Decides: which library brings a provider (an installed package's, or a path on the device), that a process registers it
once, and which of its devices is used. Leaves out: whether a session then uses it (the package itself).
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agent.errors import EngineFailed
from agent.inference.engines.base import OUT_OF_MEMORY_SIGNS

DEVICE = "device_type"
"""Among a provider's options: the kind of device that a plug-in is used on. It is ours to read, not the plug-in's."""


@dataclass(frozen=True)
class Plugin:
    """How a provider comes as a plug-in.

    module: The package that brings the library; empty: the bundle's options name its path. device: CPU, GPU or NPU,
    unless the bundle says another `device_type`; empty: the first that the plug-in has.
    """

    module: str = ""
    device: str = ""

    @property
    def is_installed(self) -> bool:
        return bool(self.module) and importlib.util.find_spec(self.module) is not None


def registers(runtime: Any) -> bool:
    """Return whether this ONNX Runtime takes plug-ins."""
    return hasattr(runtime, "register_execution_provider_library") and hasattr(runtime, "get_ep_devices")


def library_of(plugin: Plugin) -> str:
    """Return where an installed package has its library.

    Raises:
        EngineFailed: The package cannot be imported, or does not tell.
    """
    try:
        found: Callable[[], str] = importlib.import_module(plugin.module).get_library_path
        return str(found())
    except Exception as exc:  # a vendor's package may raise anything
        raise EngineFailed(f"the plug-in {plugin.module} is installed and gives no library: {str(exc)[:300]}") from exc


def device_of(runtime: Any, name: str, library: str, kind: str) -> Any:
    """Register a plug-in, and return its device of a kind.

    Args:
        runtime: ONNX Runtime.
        name: The provider's full name; empty: whatever the library brings.
        library: Its path.
        kind: CPU, GPU, NPU, or empty for the first that there is.
    Raises:
        EngineFailed: ONNX Runtime refuses the library, or it has no such device here.
        MemoryError: The library does not fit.
    """
    devices = [each for each in _devices(runtime, name, library) if kind in ("", _kind(each))]
    if not devices:
        has = ", ".join(map(_kind, _devices(runtime, name, library))) or "none"
        wanted = f"no device of type {kind}" if kind else "no device"
        raise EngineFailed(
            f"the plug-in {Path(library).name} is registered and cannot be used here: it has {wanted} (it has {has})"
        )
    return devices[0]


@cache
def _devices(runtime: Any, name: str, library: str) -> tuple[Any, ...]:
    """Register a library, which a process can do once, and return the devices that came with it."""
    before = {each.ep_name for each in runtime.get_ep_devices()}
    try:
        runtime.register_execution_provider_library(name or Path(library).stem, library)
    except Exception as exc:  # ONNX Runtime's errors share no base class below Exception
        if isinstance(exc, MemoryError) or any(sign in str(exc) for sign in OUT_OF_MEMORY_SIGNS):
            raise MemoryError(f"the plug-in {library} does not fit: {str(exc)[:400]}") from exc
        raise EngineFailed(f"ONNX Runtime refuses the plug-in {library}: {str(exc)[:400]}") from exc
    found = runtime.get_ep_devices()
    names = {name} if name else {each.ep_name for each in found} - before
    return tuple(each for each in found if each.ep_name in names)


def _kind(device: Any) -> str:
    return str(device.device.type.name)


def split(options: Mapping[str, str], plugin: Plugin) -> tuple[str, dict[str, str]]:
    """Return the kind of device that options ask for, and what is left of them for the plug-in."""
    return options.get(DEVICE, plugin.device), {key: text for key, text in options.items() if key != DEVICE}
