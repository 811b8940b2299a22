"""Upgrade the agent: a new release beside the running one, which is kept until the new one has connected.

Decides: the order (the intent is on the disk before a link changes), when a new release counts as good, when it is
given up: by the upgrade that waits for it, or, if that was killed, after three starts that did not connect. Leaves out:
models: bundles and states lie in the state folder, and no release touches them.

`recover` runs before each start, as the release that last connected: a release that cannot run at all is given up too.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.device.durable import write_durably
from agent.install import release
from agent.install.connected import CONNECTED_NAME, read_connected
from agent.install.environment import (
    DISTRIBUTION,
    Environment,
    has_pip,
    installed_extras,
    running_environment,
    vendor_packages,
)
from agent.install.layout import Layout
from agent.install.system import InstallFailed, InstallRefused, Progress, System, UpgradeFellBack, run
from wire.canonical import canonical_json

MOST_STARTS = 3
"""Starts of a release that never connected; before the next one it is given up."""
LOOK_S = 0.5


@dataclass(frozen=True)
class Wanted:
    """What to upgrade to: a wheel's path or a requirement; `wheelhouse`: a folder, and no network."""

    spec: str
    wheelhouse: Path | None = None
    wait_s: float = 120.0


@dataclass(frozen=True)
class Intent:
    """An upgrade under way: from which release to which, and how often the new one was started."""

    new: str
    former: str
    starts: int = 0

    def save(self, layout: Layout) -> None:
        document = {"new": self.new, "former": self.former, "starts": self.starts}
        write_durably(layout.intent, canonical_json(document))


def upgrade(wanted: Wanted, layout: Layout, progress: Progress) -> None:
    """Make the release, try it, switch to it, and wait until it has connected.

    Raises:
        InstallRefused: Nothing is installed here, or no installer is.
        InstallFailed: The release cannot be made or does not pass its own check; nothing was switched.
        UpgradeFellBack: It did not connect; the former one was started again.
    """
    system = System(layout)
    former = layout.named_by(layout.current)
    if not former or not layout.config.is_file():
        raise InstallRefused(f"no agent is installed in {layout.home}: `agent install` comes first")
    if progress.dry_run:
        progress.note("release", "would", f"{wanted.spec} beside {former}")
        return
    system.require_root("agent upgrade")
    with locked(layout):
        _upgrade(wanted, former, system, progress)


def _upgrade(wanted: Wanted, former: str, system: System, progress: Progress) -> None:
    from agent.config import load_config

    layout = system.layout
    name = make_release(wanted, layout, progress)
    if name == former:
        progress.note("current", "kept", f"{former} is what runs")
        return
    try_release(name, system, progress)
    restart = _restart(system, progress)
    state_dir = load_config(layout.config, environment={}).state_dir
    switch(Intent(name, former), layout, state_dir)
    progress.note("current", "done", f"{layout.current} -> {name}")
    wait(Intent(name, former), layout, state_dir, restart, wanted.wait_s)
    progress.note("connected", "done", f"{name}; {former} is kept beside it")
    _compare_unit(layout, progress)


def make_release(wanted: Wanted, layout: Layout, progress: Progress) -> str:
    """Install what is wanted into an environment of its own, and return the release's name.

    Raises:
        InstallRefused: There is no installer.
        InstallFailed: It cannot be installed.
    """
    now = running_environment()
    making = layout.releases / f"{release.MAKING}upgrade"
    command = [*_installer(making), *_requirement(wanted)]
    release.make_empty(making, now.base, now.has_system_site)
    run(command)
    for package in release.carry_vendor_packages(release.site_of(making)):
        progress.note("vendor's engine", "kept", package)
    made = _environment_of(making, now)
    name = release.release_name(made)
    if name in layout.laid():
        shutil.rmtree(making)
        progress.note("release", "kept", f"{layout.releases / name}")
        return name
    release.finish(layout, making, name)
    progress.note("release", "done", f"{layout.releases / name}")
    return name


def try_release(name: str, system: System, progress: Progress) -> None:
    """Have a release check the device and compile its kernels, as the service would; one that fails is removed.

    Raises:
        InstallFailed: It does not pass; the text has what it said.
    """
    layout = system.layout
    program = layout.releases / name / "bin" / "thresher-agent"
    try:
        for command in ("doctor", "warm"):
            system.run_as_service([program, command, "--config", layout.config])
            progress.note(command, "done", f"by {name}")
    except InstallFailed:
        shutil.rmtree(layout.releases / name, ignore_errors=True)
        raise


def switch(intent: Intent, layout: Layout, state_dir: Path) -> None:
    """Write the intent, then have the new release started from now on; the former one is `previous`."""
    (state_dir / CONNECTED_NAME).unlink(missing_ok=True)
    intent.save(layout)
    layout.point(layout.previous, intent.former)
    layout.point(layout.current, intent.new)


def wait(intent: Intent, layout: Layout, state_dir: Path, restart: Callable[[], None], wait_s: float) -> None:
    """Restart, wait until the new release has connected and settle it; else go back and restart again.

    Raises:
        UpgradeFellBack: It did not connect, or could not even be started.
    """
    why = f"did not connect within {wait_s:.0f} s"
    try:
        restart()
    except InstallFailed as exc:
        why = f"could not be started ({exc})"
    else:
        deadline_s = time.monotonic() + wait_s
        while time.monotonic() < deadline_s:
            if has_connected(intent, state_dir):
                settle(intent, layout)
                return
            if layout.named_by(layout.current) != intent.new:
                raise UpgradeFellBack(f"{intent.new} was started {MOST_STARTS} times and did not connect: see its log")
            time.sleep(LOOK_S)
    go_back(intent, layout)
    with contextlib.suppress(InstallFailed):  # the unit restarts it as well
        restart()
    raise UpgradeFellBack(f"{intent.new} {why}: {intent.former} was started again; the log says why")


def recover(layout: Layout, state_dir: Path) -> str:
    """Look after an upgrade that was not finished, before the agent starts; return what was done, in words.

    Counts this start against a release that has not connected, and gives it up where it had its starts.
    """
    intent = read_intent(layout)
    if intent is None:
        return "no upgrade is under way"
    if layout.named_by(layout.current) != intent.new:
        layout.intent.unlink(missing_ok=True)
        return f"the upgrade to {intent.new} was not begun, or was given up"
    if has_connected(intent, state_dir):
        settle(intent, layout)
        return f"{intent.new} has connected: it stays"
    if intent.starts >= MOST_STARTS and intent.former in layout.laid():
        go_back(intent, layout)
        return f"{intent.new} did not connect in {intent.starts} starts: back to {intent.former}"
    Intent(intent.new, intent.former, intent.starts + 1).save(layout)
    return f"start {intent.starts + 1} of {intent.new}, which has not connected yet"


def has_connected(intent: Intent, state_dir: Path) -> bool:
    """Return whether the new release has reached the broker since the switch."""
    return bool(read_connected(state_dir).get("release") == intent.new)


def settle(intent: Intent, layout: Layout) -> None:
    """Take the new release for good. The former one is kept beside it, older ones go."""
    layout.point(layout.previous, intent.new)
    layout.intent.unlink(missing_ok=True)
    release.prune(layout, (intent.new, intent.former))


def go_back(intent: Intent, layout: Layout) -> None:
    """Have the former release started again."""
    layout.point(layout.current, intent.former)
    layout.intent.unlink(missing_ok=True)


def read_intent(layout: Layout) -> Intent | None:
    """Return the upgrade that is under way; None where there is none, or its file cannot be read."""
    try:
        document: Any = json.loads(layout.intent.read_bytes())
        return Intent(str(document["new"]), str(document["former"]), int(document["starts"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _compare_unit(layout: Layout, progress: Progress) -> None:
    """Say when the new release comes with another unit: it is the administrator's, and may have been changed."""
    brought = layout.current / release.SHARED / layout.unit.name
    if brought.is_file() and layout.unit.is_file() and brought.read_bytes() != layout.unit.read_bytes():
        again = f"{layout.program(layout.current)} install"
        progress.note("unit", "warning", f"this release brings another one than {layout.unit}: `{again}` takes it over")


def _restart(system: System, progress: Progress) -> Callable[[], None]:
    if system.has_systemd:
        return system.restart_service
    progress.note("restart", "warning", "systemd does not run here: restart the agent by hand now, it is waited for")
    return lambda: None


def _installer(target: Path) -> list[str | Path]:
    """Return the beginning of the command that installs into `target`: this environment's pip, the base's, or uv."""
    python = target / "bin" / "python"
    now = running_environment()
    for interpreter, is_there in ((Path(now.prefix) / "bin" / "python", has_pip()), (now.base, _base_has_pip(now))):
        if is_there:
            return [interpreter, "-m", "pip", "--python", python, "--disable-pip-version-check", "install"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--python", python]
    raise InstallRefused("nothing here can install packages: `apt install python3-pip`, or put uv on the PATH")


def _base_has_pip(environment: Environment) -> bool:
    try:
        run([environment.base, "-I", "-m", "pip", "--version"])
    except InstallFailed:
        return False
    return True


def _requirement(wanted: Wanted) -> list[str | Path]:
    """Return what is asked of the installer: the spec, with the extras that are here unless it names its own."""
    if wanted.wheelhouse is not None and not wanted.wheelhouse.is_dir():
        raise InstallRefused(f"there is no folder {wanted.wheelhouse} to take wheels from")
    options: list[str | Path] = ["--no-index", "--find-links", wanted.wheelhouse] if wanted.wheelhouse else []
    extras = f"[{','.join(installed_extras())}]" if installed_extras() and "[" not in wanted.spec else ""
    options += [line for package in vendor_packages() for line in package.requires or () if "extra ==" not in line]
    path = Path(wanted.spec)
    if path.suffix == ".whl":
        if not path.is_file():
            raise InstallRefused(f"there is no wheel {path}")
        return [*options, f"{DISTRIBUTION}{extras} @ {path.resolve().as_uri()}"]
    name = wanted.spec.removeprefix(DISTRIBUTION)
    if name == wanted.spec:
        raise InstallRefused(f"{wanted.spec!r} is neither a wheel of Thresher nor a version of it ('thresher==1.2.0')")
    return [*options, f"{DISTRIBUTION}{extras}{name}"]


def _environment_of(folder: Path, now: Environment) -> Environment:
    site = release.site_of(folder)
    found = sorted(site.glob(f"{DISTRIBUTION}-*.dist-info"))
    if not found:
        raise InstallFailed(f"nothing called {DISTRIBUTION} was installed into {folder}")
    version = found[0].name.removeprefix(f"{DISTRIBUTION}-").removesuffix(".dist-info")
    return Environment(folder, site, now.base, now.has_system_site, site, version)


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold off other upgrades and installations of this tree.

    Raises:
        InstallRefused: Another one is at work.
    """
    import fcntl

    layout.home.mkdir(parents=True, exist_ok=True)
    held = os.open(layout.home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise InstallRefused(f"another installation or upgrade works in {layout.home}") from exc
        yield
    finally:
        os.close(held)
