"""Proof that this very release has reached the broker: a small file, written on every connection.

Decides: what it says. Leaves out: who waits for it (`agent/install/upgrade.py`).
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from agent.device.durable import WRITE_FAULTS, write_durably
from wire.canonical import canonical_json

log = logging.getLogger(__name__)

CONNECTED_NAME = "connected.json"
RELEASES_NAME = "releases"


def note_connected(state_dir: Path, version: str, boot_id: str, at_s: float) -> None:
    """Write that the agent has connected; a disk that takes nothing is logged, and costs only an upgrade.

    Args:
        state_dir: The agent's.
        version: This agent's.
        boot_id: Of this start.
        at_s: Trusted time [s since 1970].
    """
    document = {"version": version, "boot_id": boot_id, "at_s": at_s, "release": running_release()}
    try:
        write_durably(state_dir / CONNECTED_NAME, canonical_json(document))
    except WRITE_FAULTS as exc:
        log.error("%s is not written: %s", state_dir / CONNECTED_NAME, exc)


def read_connected(state_dir: Path) -> dict[str, Any]:
    """Return what the newest connection said; empty where there was none."""
    try:
        document = json.loads((state_dir / CONNECTED_NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def running_release(prefix: Path | None = None) -> str:
    """Return the name of the release that runs; empty where the agent runs from another environment."""
    prefix = prefix or Path(sys.prefix)
    return prefix.name if prefix.parent.name == RELEASES_NAME else ""
