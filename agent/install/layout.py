"""Where an installed agent lies: releases beside each other, two links that name them, configuration, state, unit.

Decides: every path, and that a link changes at once or not at all. Leaves out: what lies there.
Links are relative: a tree that is laid under another root works there as it is, and as the root of an image.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from agent.device.durable import sync_folder
from agent.install.connected import RELEASES_NAME

SERVICE = "thresher-agent"
ACCOUNT = "thresher"
PROGRAM = "thresher-agent"
ROOT = Path("/")


@dataclass(frozen=True)
class Layout:
    """The paths under one root."""

    root: Path = ROOT

    @property
    def is_image(self) -> bool:
        """Whether this is a tree that is not the running system: no user is made there, and nothing is started."""
        return self.root.resolve() != ROOT

    @property
    def home(self) -> Path:
        return self.root / "opt" / "thresher"

    @property
    def releases(self) -> Path:
        return self.home / RELEASES_NAME

    @property
    def current(self) -> Path:
        """The release that is started."""
        return self.home / "current"

    @property
    def previous(self) -> Path:
        """The newest release that is known to connect: it decides whether `current` is given up."""
        return self.home / "previous"

    @property
    def intent(self) -> Path:
        """What an upgrade is about; owned by root, so that the service cannot choose what is started."""
        return self.home / "upgrade.json"

    @property
    def config_dir(self) -> Path:
        return self.root / "etc" / "thresher"

    @property
    def config(self) -> Path:
        return self.config_dir / "agent.yaml"

    @property
    def state_dir(self) -> Path:
        return self.root / "var" / "lib" / "thresher"

    @property
    def units(self) -> Path:
        return self.root / "etc" / "systemd" / "system"

    @property
    def unit(self) -> Path:
        return self.units / f"{SERVICE}.service"

    def program(self, link: Path) -> Path:
        """Return the command of the release that `link` names."""
        return link / "bin" / PROGRAM

    def named_by(self, link: Path) -> str:
        """Return the release that a link names; empty where there is none."""
        try:
            return Path(os.readlink(link)).name
        except OSError:
            return ""

    def point(self, link: Path, release: str) -> None:
        """Have `link` name `release`: whoever looks sees the old one or the new one, after a power cut too."""
        waiting = link.with_name(link.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            waiting.unlink()
        waiting.symlink_to(Path(RELEASES_NAME) / release)
        os.replace(waiting, link)
        sync_folder(link.parent)

    def laid(self) -> list[str]:
        """Return the releases that are here and complete, by name."""
        return sorted(path.parents[1].name for path in self.releases.glob(f"[!.]*/bin/{PROGRAM}"))
