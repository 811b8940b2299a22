"""Delegates of TensorFlow Lite: which library stands for which, and what becomes of one that does not load.

Decides: libraries by name, and that a library comes from the device: an absolute path outside of the bundle, or a name
that the system's loader finds. Leaves out: which of the model's operators a delegate takes; the interpreter tells it.
"""

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent.errors import EngineFailed
from agent.inference.engines.base import Model, check_vendor_library

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "gpu": ("libtensorflowlite_gpu_delegate.so",),
    "nnapi": ("libnnapi_delegate.so", "libvx_delegate.so"),
    "edgetpu": ("libedgetpu.so.1",),
}
"""delegate -> the libraries that bring it, first found first used. `libvx_delegate` is what boards with NXP's i.MX 8
have in NNAPI's place."""

NAMES = ("none", *LIBRARIES, "library")


class DelegateMissing(EngineFailed):
    """The delegate's library is not on this device."""


class DelegateUnusable(EngineFailed):
    """The delegate's library is there, and does not work: no such accelerator, another version, no rights."""


def find_library(library: str) -> None:
    """Find a library as the interpreter would, which leaves a half-made delegate behind where there is none.

    Raises:
        OSError: The system's loader finds none, or refuses it.
    """
    ctypes.CDLL(library)


def load_delegate(loader: Callable[..., Any], chosen: Mapping[str, Any]) -> Any:
    """Return the delegate that the options `chosen` name.

    Args:
        loader: `load_delegate` of the interpreter's own package.
        chosen: Has `delegate`, `delegate_library` and `delegate_options`, which were checked.
    Raises:
        DelegateMissing: Its library is not there.
        DelegateUnusable: It is there, and the accelerator cannot be used.
    """
    name = chosen["delegate"]
    libraries = LIBRARIES.get(name) or (chosen["delegate_library"],)
    options, absent = {key: str(value) for key, value in chosen["delegate_options"].items()}, ""
    for library in libraries:
        try:
            find_library(library)
        except OSError as exc:
            absent = str(exc)
            if Path(library).is_file():
                raise DelegateUnusable(f"delegate {library} cannot be loaded: {absent[:300]}") from exc
            continue
        try:
            return loader(library, options)
        except (AttributeError, OSError, RuntimeError, ValueError) as exc:
            text = " ".join(str(exc).split())[:300] or "it gives no reason"
            raise DelegateUnusable(f"delegate {library} is here and cannot be used: {text}") from exc
    raise DelegateMissing(f"delegate {name}: none of {', '.join(libraries)} can be loaded ({absent[:300]})")


def check_delegate_options(engine: str, chosen: Mapping[str, Any], model: Model) -> None:
    """Refuse options of a delegate that do not go together.

    Raises:
        EngineFailed: With what would.
    """
    if chosen["delegate"] not in NAMES:
        raise EngineFailed(f"{engine} has no delegate {chosen['delegate']!r}: it has {', '.join(NAMES)}")
    if chosen["delegate_library"] and chosen["delegate"] != "library":
        raise EngineFailed(f"{engine}: delegate_library belongs to the delegate `library`, not {chosen['delegate']!r}")
    if chosen["delegate"] == "library":
        check_vendor_library("delegate_library", chosen["delegate_library"], model)
    if chosen["delegate_options"] and chosen["delegate"] == "none":
        raise EngineFailed(f"{engine}: delegate_options are given, and no delegate")
