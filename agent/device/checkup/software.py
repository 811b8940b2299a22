"""Is what the agent runs on and with installed: interpreter, engines, compiler of the kernels and its products?"""

import shutil
import sys

from agent.config import AgentConfig
from agent.device.checkup.finding import Finding
from agent.inventory import find_engines, installed_version, is_32_bit

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
LINKERS = ("cc", "gcc", "clang", "ld")


def python() -> Finding:
    """Look at the interpreter's version."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Finding("python", "ok", version)
    return Finding("python", "missing", version, "install Python 3.11 to 3.13, for example with uv")


def word_size() -> Finding:
    """Look at the width of the interpreter: a 64-bit kernel may run 32-bit programs alone."""
    if not is_32_bit():
        return Finding("64 bit", "ok", "a 64-bit Python")
    remedy = (
        "install the 64-bit system of the board: neither engine has wheels for 32-bit processors, nor has the compiler "
        "of the kernels"
    )
    return Finding("64 bit", "missing", "a 32-bit Python", remedy)


def engines(config: AgentConfig | None) -> Finding:
    """Look for engines that are installed and allowed."""
    found = find_engines(config.engines_allowed if config is not None else None)
    if found:
        return Finding("engines", "ok", ", ".join(f"{engine.name} {engine.version}" for engine in found))
    remedy = "pip install 'thresher[onnxruntime]' or 'thresher[litert]', and allow it in engines_allowed"
    return Finding("engines", "missing", "none", remedy)


def kernels() -> Finding:
    """Look for what the kernels are made with."""
    versions = {package: installed_version(package) for package in ("numpy", "numba")}
    lacking = [package for package, version in versions.items() if version is None]
    if lacking:
        return Finding("kernels", "missing", f"{', '.join(lacking)} not installed", "pip install 'thresher[kernels]'")
    return Finding("kernels", "ok", ", ".join(f"{package} {version}" for package, version in versions.items()))


def linker() -> Finding:
    """Look for a linker: without one, workers load the kernels in a way that takes more memory."""
    found = next((name for name in LINKERS if shutil.which(name) is not None), None)
    if found is not None:
        return Finding("linker", "ok", found)
    remedy = "apt install binutils: kernels are then linked once, and each worker takes some 40 MB less"
    return Finding("linker", "warning", "none", remedy)


def cache(config: AgentConfig) -> Finding:
    """Look whether the kernels were compiled, and in which form."""
    from agent.inference.limits import kernel_folder
    from agent.warm import read_report

    folder = kernel_folder(config.kernel_cache)
    report = read_report(folder)
    if report is not None:
        return Finding("kernel cache", "ok", f"{folder} ({report.form})")
    return Finding("kernel cache", "warning", f"{folder} is cold", "run `agent warm --config FILE` once")
