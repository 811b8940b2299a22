"""Take the agent off a device: the service, the unit, the releases; configuration and state only when asked.

Decides: what goes and in which order. Leaves out: asking a person (`agent/cli/uninstall.py`).
"""

import contextlib
import shutil
from functools import partial

from agent.config import load_config
from agent.device.identity import agent_runs
from agent.errors import ConfigurationError
from agent.install.install import DROP_INS
from agent.install.layout import ACCOUNT, SERVICE, Layout
from agent.install.system import InstallRefused, Progress, System, run


def uninstall(layout: Layout, purge: bool, progress: Progress) -> None:
    """Remove the agent; with `purge` its configuration, its state and its user too.

    Raises:
        InstallRefused: The agent runs and cannot be stopped from here.
        InstallFailed: A step failed.
    """
    system = System(layout)
    if not progress.dry_run:
        system.require_root("agent uninstall")
    # Where the configuration puts the state elsewhere, that folder is its owner's, and stays.
    state_dir = layout.state_dir
    _stop(system, progress)
    units = [path for path in (layout.unit, layout.units / DROP_INS) if path.exists()]
    progress.step("unit", str(layout.unit), partial(_remove_units, system) if units else None)
    progress.step("releases", str(layout.home), partial(_remove_releases, layout) if layout.home.exists() else None)
    for name, folder in (("configuration", layout.config_dir), ("state", state_dir)):
        if purge and folder.exists():
            progress.step(name, str(folder), partial(shutil.rmtree, folder))
        elif folder.exists():
            progress.step(name, f"{folder} stays (--purge removes it)", None)
    if purge and system.account() is not None:
        progress.step("user", ACCOUNT, lambda: run(["userdel", ACCOUNT]))


def _stop(system: System, progress: Progress) -> None:
    layout = system.layout
    if system.has_systemd and layout.unit.exists():
        stop = partial(system.systemctl, "disable", "--now", f"{SERVICE}.service")
        progress.step("stop", f"systemctl disable --now {SERVICE}", stop)
    with contextlib.suppress(ConfigurationError):
        config = load_config(layout.config, environment={})
        if not progress.dry_run and agent_runs(config.state_dir):
            raise InstallRefused(f"an agent works in {config.state_dir}: stop it first")


def _remove_units(system: System) -> None:
    system.layout.unit.unlink(missing_ok=True)
    shutil.rmtree(system.layout.units / DROP_INS, ignore_errors=True)
    if system.has_systemd:
        system.systemctl("daemon-reload")


def _remove_releases(layout: Layout) -> None:
    for path in (layout.current, layout.previous, layout.intent):
        path.unlink(missing_ok=True)
    shutil.rmtree(layout.releases, ignore_errors=True)
    with contextlib.suppress(OSError):
        layout.home.rmdir()  # something of others' may lie there
