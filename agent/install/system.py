"""What installing needs of the system: steps that are told, commands, the service's user, systemd.

Decides: how a step is shown, that a dry run changes nothing, what counts as systemd being there, and that root writes
nothing into somebody else's folder. Leaves out: which steps there are (`install.py`, `uninstall.py`, `upgrade.py`).
"""

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from agent.device.durable import disk_errors
from agent.errors import AgentError
from agent.install.layout import ACCOUNT, ROOT, SERVICE, Layout

Outcome = Literal["done", "kept", "would", "skipped", "warning"]
_SYSTEMD = Path("/run/systemd/system")
"""There while systemd is the first process. Source: sd_booted(3)."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
_COMMAND_TIMEOUT_S = 1800.0
"""Kernels on a Raspberry Pi 3, and packages from a slow network."""


class InstallRefused(AgentError):
    """The environment or the device will not do for installing or upgrading; nothing was changed."""

    reason = "install_refused"
    exit_code = 13


class InstallFailed(AgentError):
    """A step of installing or upgrading failed; steps before it stand, and the command can be run again."""

    reason = "install_failed"
    exit_code = 13


class UpgradeFellBack(AgentError):
    """The new release did not connect in time; the former one was started again."""

    reason = "upgrade_fell_back"
    exit_code = 14


@dataclass(frozen=True)
class Step:
    """One step as it is told."""

    name: str
    outcome: Outcome
    detail: str

    def as_document(self) -> dict[str, str]:
        return asdict(self)


@dataclass
class Progress:
    """Carries steps out and tells them; with `dry_run` it only tells."""

    show: Callable[[Step], None]
    dry_run: bool = False
    steps: list[Step] = field(default_factory=list)

    def step(self, name: str, detail: str, act: Callable[[], object] | None) -> None:
        """Carry a step out, or tell that nothing is to be done (`act` null).

        Raises:
            DiskFull: No room for it.
            InstallFailed: The system refuses it.
        """
        if act is None:
            self.note(name, "kept", detail)
        elif self.dry_run:
            self.note(name, "would", detail)
        else:
            try:
                with disk_errors(Path(detail)):
                    act()
            except OSError as exc:
                raise InstallFailed(f"{name} ({detail}) failed: {exc}") from exc
            self.note(name, "done", detail)

    def note(self, name: str, outcome: Outcome, detail: str) -> None:
        """Tell something that is no action."""
        self.steps.append(Step(name, outcome, detail))
        self.show(self.steps[-1])


class System:
    """The running system behind a layout; under another root there is none, and files belong to whoever runs this."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @property
    def has_systemd(self) -> bool:
        return not self.layout.is_image and _SYSTEMD.is_dir() and shutil.which("systemctl") is not None

    def require_root(self, what: str) -> None:
        """Refuse to go on without the rights that it takes.

        Raises:
            InstallRefused: Not root, and not under a root of one's own.
        """
        if not self.layout.is_image and os.geteuid() != 0:
            raise InstallRefused(f"{what} needs root: run it with sudo (and the command's full path), or give --root")

    def account(self) -> tuple[int, int] | None:
        """Return the service's user and group; None under another root, or before they are made."""
        if self.layout.is_image:
            return None
        try:
            return pwd.getpwnam(ACCOUNT).pw_uid, grp.getgrnam(ACCOUNT).gr_gid
        except KeyError:
            return None

    def make_account(self) -> None:
        """Make the service's user and group."""
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", str(self.layout.state_dir)]
        shell = next((path for path in ("/usr/sbin/nologin", "/sbin/nologin") if Path(path).exists()), "/bin/false")
        run(["useradd", *options, "--shell", shell, ACCOUNT])

    def own(self, path: Path | int, mode: int, *, by_service: bool) -> None:
        """Give a path, or an open file, its mode and its owner: the service, or root with the service's group."""
        os.chmod(path, mode)
        account = self.account()
        if account is not None and os.geteuid() == 0:
            os.chown(path, account[0] if by_service else 0, account[1])

    def make_folder(self, folder: Path, mode: int) -> None:
        """Make a folder of the service's own, each level by whoever owns the one above it.

        Raises:
            OSError: It is there already, as a link for example, or somebody put another in its place.
        """
        for level in reversed([folder, *folder.parents]):
            if level != folder and level.is_dir():
                continue
            owner = owner_of(level.parent, self.layout.root)
            with acting_as(owner):
                level.mkdir()
        # By its descriptor: the name may belong to another folder by now.
        made = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(made).st_uid != (owner[0] if owner is not None else os.geteuid()):
                raise FileExistsError(f"{folder} was replaced while it was made")
            self.own(made, mode, by_service=True)
        finally:
            os.close(made)

    def run_as_service(self, command: Sequence[str | Path]) -> str:
        """Run a command as the service's user would, and return what it prints.

        Raises:
            InstallFailed: It failed; the end of what it said is in the text.
        """
        account = self.account() if os.geteuid() == 0 else None
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment |= {"HOME": str(self.layout.state_dir), "ORT_DISABLE_TELEMETRY": "1"}
        return run(command, environment, account)

    def systemctl(self, *arguments: str) -> None:
        """Run systemctl.

        Raises:
            InstallFailed: It failed.
        """
        run(["systemctl", *arguments])

    def restart_service(self) -> None:
        """Start the service anew, whatever it did."""
        self.systemctl("restart", f"{SERVICE}.service")


def owner_of(folder: Path, top: Path = ROOT) -> tuple[int, int] | None:
    """Return the user, and its group, who could exchange what lies in `folder`; null where that is root alone.

    Links count as their owner's. Where another process than root's asks, the answer is null: it can do no more than
    its user.

    Args:
        folder: It may be missing yet.
        top: Folders above it are trusted: the root of a tree that is laid as an image.
    """
    if os.geteuid() != 0:
        return None
    for path in (Path(os.path.abspath(folder)), Path(os.path.realpath(folder))):
        for level in (path, *path.parents):
            if level == top:
                break
            if os.path.lexists(level) and (uid := level.lstat().st_uid) != 0:
                return uid, _group_of(uid, level)
    return None


def _group_of(uid: int, path: Path) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return path.lstat().st_gid


@contextmanager
def acting_as(account: tuple[int, int] | None) -> Iterator[None]:
    """Touch files with the rights of a user and group, and no others; with null, or without root's, as who runs this.

    For files alone: what is imported here may lie where that user may not look.
    """
    if account is None or os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    try:
        os.setgroups([])
        os.setegid(account[1])
        os.seteuid(account[0])
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    account: tuple[int, int] | None = None,
) -> str:
    """Run a command and return what it prints.

    Args:
        command: The program and its arguments.
        environment: Instead of this process's.
        account: User and group to run as.
    Raises:
        InstallFailed: It is not there, takes too long or fails; the end of what it said is in the text.
    """
    whom = {} if account is None else {"user": account[0], "group": account[1], "extra_groups": []}
    shown = " ".join(map(str, command[:4]))
    try:
        ended = subprocess.run(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            cwd="/",
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
            **whom,  # type: ignore[call-overload]
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise InstallFailed(f"{shown} … cannot be run: {exc}") from exc
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).decode(errors="replace").strip()[-800:]
        raise InstallFailed(f"{shown} … ended with exit code {ended.returncode}: {said}")
    return bytes(ended.stdout).decode(errors="replace")
