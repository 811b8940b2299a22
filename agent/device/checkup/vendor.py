"""Engines that a board's vendor gives: found, named, and never replaced.

Decides: what counts as a Jetson, where its engines are looked for, and which mixtures of packages cannot work. The
vendor's `onnxruntime-gpu` and the registry's `onnxruntime` are the same folder: one laid over the other breaks both.
"""

import re
from collections.abc import Callable
from pathlib import Path

from agent.device.checkup.finding import Finding, text_of
from agent.inference.engines.table import TABLE
from agent.inventory import installed_version

VENDOR_PACKAGE = "onnxruntime-gpu"
_LIBRARIES = ("usr/lib/aarch64-linux-gnu", "usr/lib", "usr/local/lib")
_SYSTEM_PACKAGES = ("usr/lib/python3*/dist-packages", "usr/local/lib/python3*/dist-packages")


def engines(root: Path, version_of: Callable[[str], str | None] = installed_version) -> list[Finding]:
    """Look at the vendor's engines; nothing is said where there are none and nothing is mixed."""
    if mixed := mixture(version_of):
        remedy = (
            f"remove all of them, then install the vendor's alone: pip uninstall {' '.join(mixed)}; on a Jetson its "
            f"{VENDOR_PACKAGE} and 'thresher[jetson]'"
        )
        found = f"{' and '.join(mixed)} are both installed, and share one folder"
        return [Finding("vendor's engine", "missing", found, remedy)]
    if not is_jetson(root):
        return []
    return [_jetson(root, version_of)]


def mixture(version_of: Callable[[str], str | None] = installed_version) -> list[str]:
    """Return packages of one engine that are installed over each other; empty where none are."""
    for entry in TABLE.values():
        found = [package for package in entry.packages if version_of(package) is not None]
        if len(found) > 1:
            return found
    return []


def is_jetson(root: Path) -> bool:
    """Return whether this is a board with the vendor's Linux for Tegra."""
    return (root / "etc/nv_tegra_release").exists()


def tensorrt_version(root: Path) -> str | None:
    """Return the version of TensorRT, from its library's name or its package for the system's Python."""
    names = [path.name for folder in _LIBRARIES for path in (root / folder).glob("libnvinfer.so.*")]
    versions = [name.removeprefix("libnvinfer.so.") for name in names]
    whole = [version for version in versions if re.fullmatch(r"\d+(\.\d+)+", version)]
    return max(whole, key=_number, default=None) or _in_system_python(root, "tensorrt")


def vendor_onnxruntime(root: Path) -> str | None:
    """Return the version of the vendor's ONNX Runtime in the system's Python."""
    return _in_system_python(root, VENDOR_PACKAGE.replace("-", "_"))


def _jetson(root: Path, version_of: Callable[[str], str | None]) -> Finding:
    here, outside = version_of(VENDOR_PACKAGE), vendor_onnxruntime(root)
    parts = [f"Jetson {_release(root)}", f"TensorRT {tensorrt_version(root) or 'not found'}"]
    if here is not None:
        return Finding("vendor's engine", "ok", ", ".join([*parts, f"{VENDOR_PACKAGE} {here}"]))
    if outside is not None:
        parts.append(f"{VENDOR_PACKAGE} {outside} in the system's Python, which this environment does not see")
        remedy = "make the environment with --system-site-packages and install 'thresher[jetson]' into it"
    else:
        parts.append(f"no {VENDOR_PACKAGE}: models run on the processor")
        remedy = f"install the vendor's wheel of {VENDOR_PACKAGE} for this release, and 'thresher[jetson]'"
    if version_of("onnxruntime") is not None:
        remedy += "; remove onnxruntime from it first, the vendor's is never replaced"
    return Finding("vendor's engine", "warning", ", ".join(parts), remedy)


def _release(root: Path) -> str:
    """Return the vendor's release. Source: the file's first line, `# R36 (release), REVISION: 4.0, …`."""
    found = re.search(r"R(\d+)\b.*?REVISION:\s*([\d.]+)", text_of(root / "etc/nv_tegra_release"))
    return f"L4T {found[1]}.{found[2]}" if found else "of an unknown release"


def _in_system_python(root: Path, package: str) -> str | None:
    for pattern in _SYSTEM_PACKAGES:
        for path in sorted(root.glob(f"{pattern}/{package}-*.dist-info")):
            return path.name.removeprefix(f"{package}-").removesuffix(".dist-info")
    return None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
