"""Releases: whole environments beside each other, each under a name that its content gives it.

Decides: what is copied, what the name is made of, how the commands are written, which releases are kept. Leaves out:
which release is started (`layout.py`, `upgrade.py`).
A release is complete or not there: it is made under another name, and renamed when all of it is on the disk.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.device.durable import sync_folder
from agent.errors import DiskFull
from agent.install.environment import IGNORED_FILES, Environment, vendor_packages
from agent.install.layout import PROGRAM, Layout
from agent.install.system import InstallFailed, run

COMMANDS = ("agent", PROGRAM)
KEPT_RELEASES = 2
MAKING = ".making-"
SHARED = Path("share") / "thresher" / "systemd"
DISK_MARGIN_BYTES = 64 * 1024 * 1024
_LEFT_OUT = ("pip", "pip-", "__editable__")
"""Packages that a release does not need: what installs, is not what runs."""
_SCRIPT = """\
#!/bin/sh
'''exec' "$(dirname -- "$(readlink -f -- "$0")")/python" -s "$0" "$@"
' '''
import sys
import sysconfig
from agent.cli import main
sys.exit(main())
"""
"""A shell finds the interpreter beside the script: the tree can be moved, and its path may be long."""


def release_name(environment: Environment) -> str:
    """Return the name of the release that this environment makes: its version, and a digest of all its files."""
    digest = hashlib.sha256(f"{environment.base}|{sys.version}|{environment.has_system_site}".encode())
    for source, relative in files_of(environment):
        if "__pycache__" not in relative.parts:
            digest.update(f"{relative}\0".encode())
            with source.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return f"{environment.version}-{digest.hexdigest()[:8]}"


def lay_release(environment: Environment, layout: Layout, name: str) -> None:
    """Copy an environment to `releases/NAME`.

    Raises:
        DiskFull: No room for it.
        InstallFailed: A virtual environment cannot be made.
    """
    _require_room(environment, layout)
    with_name = layout.releases / f"{MAKING}{name}"
    make_empty(with_name, environment.base, environment.has_system_site)
    site = site_of(with_name)
    for source, relative in files_of(environment):
        _copy(source, site / relative)
    for source in sorted((environment.prefix / SHARED).rglob("*")):
        if source.is_file():
            _copy(source, with_name / SHARED / source.relative_to(environment.prefix / SHARED))
    finish(layout, with_name, name)


def files_of(environment: Environment) -> Iterator[tuple[Path, Path]]:
    """Yield every file of an environment's packages with its place below their folder, in one order."""
    for folder, names, files in os.walk(environment.site):
        inside = Path(folder).relative_to(environment.site)
        names.sort()
        if inside == Path():
            names[:] = [name for name in names if not _is_left_out(name)]
            files = [name for name in files if not name.startswith(IGNORED_FILES) and not _is_left_out(name)]
        for name in sorted(files):
            yield Path(folder) / name, inside / name


def make_empty(folder: Path, base: Path, has_system_site: bool) -> None:
    """Make an empty virtual environment, in place of what an interrupted run left there.

    Raises:
        InstallFailed: The interpreter cannot make one.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    options = ["--without-pip", "--symlinks", *(["--system-site-packages"] if has_system_site else [])]
    run([base, "-I", "-m", "venv", *options, folder])


def carry_vendor_packages(site: Path) -> list[str]:
    """Copy a vendor's engines from this environment into `site`: no registry has them; return their names.

    One of the system's Python is left where it is: an environment that sees it now sees it afterwards.
    """
    carried = []
    for package in vendor_packages():
        folder = Path(str(package.locate_file("")))
        if folder.resolve() != Path(sysconfig.get_path("purelib")).resolve():
            continue
        for file in package.files or ():
            if ".." not in file.parts and (folder / file).is_file():
                _copy(folder / file, site / file)
        carried.append(package.metadata["Name"])
    return carried


def finish(layout: Layout, making: Path, name: str) -> None:
    """Write the commands anew, compile what is not compiled, sync, and give the release its name."""
    binaries = making / "bin"
    for path in binaries.iterdir():
        if not path.name.startswith("python"):
            path.unlink()
    for command in COMMANDS:
        _write_command(binaries / command)
    # Some files of some packages are templates that never compile: what matters is seen when the agent starts.
    with contextlib.suppress(InstallFailed):
        run([binaries / "python", "-I", "-m", "compileall", "-q", "-j", "0", str(site_of(making))])
    making.chmod(0o755)
    os.sync()
    shutil.rmtree(layout.releases / name, ignore_errors=True)  # one that is there is none: `Layout.laid`
    os.rename(making, layout.releases / name)
    sync_folder(layout.releases)


def site_of(release: Path) -> Path:
    """Return the folder of a release's packages."""
    return next(iter(release.glob("lib/python3.*/site-packages")))


def prune(layout: Layout, keep: Iterable[str]) -> list[str]:
    """Remove releases but those named and the newest, two in all, and what interrupted runs left; return what went."""
    kept = {name for name in keep if name}
    others = [path for path in layout.releases.glob("[!.]*") if path.name not in kept]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    gone = [*others[max(0, KEPT_RELEASES - len(kept)) :], *layout.releases.glob(f"{MAKING}*")]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in gone]


def _is_left_out(name: str) -> bool:
    return name == _LEFT_OUT[0] or name.startswith(_LEFT_OUT[1:])


def _require_room(environment: Environment, layout: Layout) -> None:
    needed = sum(source.stat().st_size for source, _ in files_of(environment))
    layout.releases.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(layout.releases).free
    if free < needed + DISK_MARGIN_BYTES:
        raise DiskFull(
            f"{layout.releases} has {free // 1024**2} MiB free, the release takes {needed // 1024**2}: free some space"
        )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    # The environment may be closed to others (a pipx of root): the service has to read its release.
    target.chmod(0o755 if source.stat().st_mode & 0o111 else 0o644)


def _write_command(path: Path) -> None:
    path.write_text(_SCRIPT, encoding="utf-8")
    path.chmod(0o755)
