"""Who this run of the agent is, and what time it may believe.

Decides: the boot id (each start has its own, so that reports can be told apart), the running number of messages, and
trusted time: never before this release was built, nor before the last signed document. A Pi has no battery clock.
"""

import fcntl
import itertools
import json
import logging
import os
import pwd
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.device.durable import WRITE_FAULTS, write_durably
from agent.errors import AgentError, ConfigurationError
from wire.canonical import canonical_json

log = logging.getLogger(__name__)

IDENTITY_NAME = "identity.json"
LOCK_NAME = "agent.lock"
BUILT_S = 1_762_000_000.0
"""Trusted time never lies before this release [s since 1970]."""


class AlreadyRuns(AgentError):
    """Another agent works in the same state folder."""

    reason = "busy"
    exit_code = 9


class Identity:
    """Counts boots and messages, and remembers the newest signed time."""

    def __init__(self, state_dir: Path, clock: Callable[[], float] = time.time) -> None:
        """Count one more boot. A disk that takes nothing does not stop it: the boot id is another one in any case."""
        self._path = state_dir / IDENTITY_NAME
        self._clock = clock
        saved = read_identity(state_dir)
        self._boots = int(saved.get("boots", 0)) + 1
        self._signed_s = float(saved.get("signed_s", BUILT_S))
        self._numbers = itertools.count()
        self.boot_id = f"{self._boots}-{secrets.token_hex(4)}"
        self._save()

    @property
    def boots(self) -> int:
        return self._boots

    def next_seq(self) -> int:
        """Return the number of the next message; it only rises within a boot."""
        return next(self._numbers)

    def now_s(self) -> float:
        """Return trusted time [s since 1970]: the device's clock, but never before what was signed."""
        return max(BUILT_S, self._signed_s, self._clock())

    def saw_signed(self, issued_s: float) -> None:
        """Remember the time in a document whose signature held."""
        if issued_s > self._signed_s:
            self._signed_s = issued_s
            self._save()

    def _save(self) -> None:
        document = {"boots": self._boots, "signed_s": self._signed_s, "boot_id": self.boot_id, "pid": os.getpid()}
        try:
            write_durably(self._path, canonical_json(document))
        except WRITE_FAULTS as exc:
            log.error("%s is not saved: %s", self._path, exc)


class StateLock:
    """Holds a state folder for one agent; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, state_dir: Path) -> None:
        """Take the folder.

        Raises:
            AlreadyRuns: Another agent has it.
            ConfigurationError: It belongs to another user, whose agent could not use what this one would write.
        """
        state_dir.mkdir(parents=True, exist_ok=True)
        _refuse_another_users(state_dir)
        self._file = (state_dir / LOCK_NAME).open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self._file.close()
            raise AlreadyRuns(
                f"another agent works in {state_dir}: stop it, or give this one a state_dir of its own"
            ) from exc

    def release(self) -> None:
        self._file.close()


def _refuse_another_users(state_dir: Path) -> None:
    owner = state_dir.stat().st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    raise ConfigurationError(
        f"state_dir: {state_dir} belongs to {name}: run the agent as that user "
        f"(`sudo -u {name} …`, or `systemctl start thresher-agent`), or give it a state_dir of its own"
    )


def agent_runs(state_dir: Path) -> bool:
    """Return whether an agent works in `state_dir` now."""
    try:
        with (state_dir / LOCK_NAME).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def read_identity(state_dir: Path) -> dict[str, Any]:
    """Return what was saved of earlier boots; empty where nothing can be read."""
    try:
        document = json.loads((state_dir / IDENTITY_NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
