"""The environment from which the agent is installed: where its packages lie, and whether a release can be made of it.

Decides: which environments are refused, with what to do; which extras are installed. Leaves out: copying
(`release.py`).
"""

import contextlib
import importlib.util
import re
import sys
import sysconfig
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from agent.inference.engines.table import TABLE
from agent.install.layout import Layout
from agent.install.system import InstallRefused
from agent.inventory import agent_version, installed_version

DISTRIBUTION = "thresher"
DEVICE_EXTRAS = ("onnxruntime", "litert", "tflite-runtime", "executorch", "kernels", "camera", "serve")
"""Extras that bring packages to a device; `pi` and `jetson` only put them together."""
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""Hidden from the service by ProtectHome=. Source: systemd.exec(5)."""
OUTSIDEHOMES = "UV_PYTHON_INSTALL_DIR=/opt/python uv python install 3.12"
"""Brings an interpreter that the service may look at."""
_REMEDY = (
    "install it into an environment of its own first: `pipx install 'thresher[pi]'`, "
    "`uv tool install --python /usr/bin/python3 'thresher[pi]'`, or pip in a virtual environment"
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment: its folder, its packages' folder, the interpreter below it."""

    prefix: Path
    site: Path
    base: Path
    has_system_site: bool
    package: Path
    """Folder in which the running agent's package lies."""
    version: str


def running_environment() -> Environment:
    """Return the environment in which this command runs."""
    return Environment(
        prefix=Path(sys.prefix),
        site=Path(sysconfig.get_path("purelib")),
        base=Path(getattr(sys, "_base_executable", sys.executable)).resolve(),
        has_system_site=_has_system_site(Path(sys.prefix)),
        package=Path(__file__).resolve().parents[2],
        version=agent_version(),
    )


def check_environment(environment: Environment, layout: Layout) -> list[str]:
    """Refuse an environment of which no release can be made; return what is to be warned of.

    Raises:
        InstallRefused: With what to do.
    """
    if environment.prefix == Path(sys.base_prefix):
        raise InstallRefused(f"the agent runs from the system's Python at {environment.prefix}: {_REMEDY}")
    if environment.package != environment.site.resolve() or is_editable():
        raise InstallRefused(
            f"the agent runs from {environment.package}, a checkout or an editable install, which may change under a "
            f"running service: {_REMEDY}"
        )
    if elsewhere := foreign_paths(environment.site):
        raise InstallRefused(f"packages of this environment lie elsewhere ({elsewhere[0]}): {_REMEDY}")
    return _check_base(environment, layout)


def _check_base(environment: Environment, layout: Layout) -> list[str]:
    home = next((home for home in HOMES if environment.base.is_relative_to(home)), None)
    if home is None:
        return []
    what = f"the interpreter {environment.base} lies under {home}, where the service may not look"
    if layout.is_image:
        return [what]
    raise InstallRefused(
        f"{what}: make the environment with the system's one, `pipx install --python /usr/bin/python3 …` or "
        "`uv tool install --python /usr/bin/python3 …`; where that is too old, with one that lies elsewhere: "
        f"`{OUTSIDEHOMES}`"
    )


def is_editable() -> bool:
    """Return whether the distribution was installed as a link to a checkout."""
    try:
        origin = metadata.distribution(DISTRIBUTION).read_text("direct_url.json") or ""
    except metadata.PackageNotFoundError:
        return True
    return re.search(r'"editable"\s*:\s*true', origin) is not None


def foreign_paths(site: Path) -> list[str]:
    """Return folders outside of `site` that its .pth files add; those of pipx and of setuptools are left out."""
    found = []
    for file in sorted(site.glob("*.pth")):
        if file.name.startswith(IGNORED_FILES):
            continue
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("/") and not Path(line).is_relative_to(site):
                found.append(line)
    return found


IGNORED_FILES = ("pipx_shared", "_virtualenv", "distutils-precedence", "_uv_", "uv_")
"""Beginnings of files by which tools prepare an environment; a release needs none of them."""


def installed_extras() -> tuple[str, ...]:
    """Return the extras of a device whose packages are all here: an upgrade asks for the same ones."""
    try:
        required = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return ()
    found = []
    for extra in DEVICE_EXTRAS:
        of_extra = [line for line in required if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", line)]
        names = [re.match(r"[A-Za-z0-9._-]+", line) for line in of_extra]
        if names and all(name and installed_version(name[0]) is not None for name in names):
            found.append(extra)
    # tflite-runtime brings the kernels' packages itself, for an older numpy: asking for both cannot be met.
    return tuple(extra for extra in found if extra != "kernels" or "tflite-runtime" not in found)


def vendor_packages() -> list[metadata.Distribution]:
    """Return the engines here that a registry does not give, or not like this: a board's vendor built them."""
    found = []
    for package in (package for entry in TABLE.values() for package in entry.packages[1:]):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(metadata.distribution(package))
    return found


def has_pip() -> bool:
    """Return whether this environment has pip."""
    return importlib.util.find_spec("pip") is not None


def _has_system_site(prefix: Path) -> bool:
    try:
        text = (prefix / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"(?im)^include-system-site-packages\s*=\s*true", text) is not None
