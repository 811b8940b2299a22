"""Confine this process, step by step; say what holds it, and what this host cannot do.

Decides: order and words. Leaves out: the steps themselves.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.device.sandbox import identity, kernel, landlock, paths, seccomp


class SandboxLacking(Exception):
    """The sandbox is required and this host lacks a part of it; the text says which."""


def abilities() -> dict[str, Any]:
    """Return what this host can hold a worker by.

    Returns:
        `network`: seccomp, landlock (TCP only) or none; `files`: landlock and its version, or none; `user`: whether
        workers can get a user of their own.
    """
    spoken = landlock.version()
    network = "seccomp" if seccomp.is_available() else "landlock" if spoken >= 4 else "none"
    return {
        "network": network,
        "files": f"landlock {spoken}" if spoken else "none",
        "user": identity.may_switch(),
    }


def confine(settings: Mapping[str, Any], package: str) -> dict[str, Any]:
    """Take on the sandbox that `settings` (of `Command.settings`) asks for; return what holds, and what `lacks`.

    `package` is the worker's own. The user was changed before (`take_user`). No other thread may run.

    Raises:
        SandboxLacking: A part that is required cannot be had.
    """
    network = bool(settings.get("network"))
    held: dict[str, Any] = {"network": "open" if network else "none", "files": "none"}
    lacks: list[str] = []
    if settings.get("mode", "best_effort") == "off":
        return {**held, "lacks": lacks}
    _try(lacks, "no_new_privs", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
    if not network or os.geteuid() != 0:
        _try(lacks, "capabilities", identity.drop_capabilities)
    readable, writable = ([Path(each) for each in settings.get(name) or ()] for name in ("readable", "writable"))
    if readable or writable:
        rules = paths.rules(package, readable, writable)
        spoken = _try(lacks, "files", lambda: landlock.apply(rules, network))
        held["files"] = f"landlock {spoken}" if spoken else "none"
        if spoken and spoken >= 4 and not network:
            held["network"] = "landlock"
    if _try(lacks, "network", lambda: seccomp.apply(network)) is not False and not network:
        held["network"] = "seccomp"
    _insist(settings, lacks)
    return {**held, "lacks": lacks}


def take_user(settings: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Change to the worker's own user where one is asked for; return its name, and what lacks.

    Raises:
        SandboxLacking: It is required and cannot be had.
    """
    user, lacks = settings.get("user"), list(settings.get("lacks") or ())
    if user is not None and not lacks and _try(lacks, "user", lambda: identity.become(user)) is False:
        user = None
    _insist(settings, lacks)
    return (user if not lacks else None), lacks


def _try(lacks: list[str], what: str, step: Any) -> Any:
    """Take a step; return its result, or False where the kernel refused, which is noted."""
    try:
        return step()
    except OSError as exc:
        lacks.append(f"{what}: {exc.strerror or exc}")
        return False


def _insist(settings: Mapping[str, Any], lacks: list[str]) -> None:
    if lacks and settings.get("mode") == "required" and not settings.get("network"):
        raise SandboxLacking(f"workers.sandbox is required, and this host lacks {'; '.join(lacks)}")
