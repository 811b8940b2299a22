"""A workload's folder: the saved state and the A/B slots, each replaced by one atomic rename.

Decides: what to go on with when the saved state cannot be read: roll back to what the slots name. Leaves out: when to
save (before every instruction, `workload.py`).
"""

import json
import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.device.durable import write_durably
from agent.update.vocabulary import Saved
from wire.canonical import canonical_json
from wire.device_state import State
from wire.update import ReportedError

log = logging.getLogger(__name__)

STATE_NAME = "state.json"
SLOTS = ("active", "previous")
_DIGEST_LENGTH = 64


class WorkloadFolder:
    """`state_dir/workloads/{workload}`: `state.json`, and the slots `active` and `previous`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slots: dict[str, str | None] = {name: self._read_slot(name) for name in SLOTS}

    def load(self) -> Saved:
        """Return what was saved; a fresh state where nothing ever was, a rollback where it cannot be understood."""
        path = self._folder / STATE_NAME
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return self._lost("the saved state is gone") if any(self._slots.values()) else self._fresh()
        try:
            return Saved.model_validate_json(content)
        except ValidationError as exc:
            fault = exc.errors(include_url=False, include_input=False)[0]
            return self._lost(f"the saved state is unknown to this release ({fault['msg']})", _as_document(content))

    def save(self, saved: Saved) -> None:
        """Put `saved` on the disk, then the slots where they changed.

        Raises:
            DiskFull, OSError: No room, or a faulty disk; what was saved before stays.
        """
        write_durably(self._folder / STATE_NAME, saved.model_dump_json(exclude_none=True).encode())
        self._set_slot("active", saved.active)
        self._set_slot("previous", saved.previous)

    def slot(self, name: str) -> str | None:
        """Return the digest in the slot `active` or `previous`."""
        return self._slots[name]

    def _fresh(self) -> Saved:
        return Saved(workload=self._folder.name)

    def _lost(self, why: str, found: dict[str, Any] | None = None) -> Saved:
        log.error("workload %s: %s; rolling back", self._folder.name, why)
        document = found or {}
        quarantined = [digest for digest in _as_list(document, "quarantined") if _is_digest(digest)]
        return Saved(
            workload=self._folder.name,
            state=State.ROLLBACK,
            gen=_as_count(document, "gen"),
            epoch=_as_count(document, "epoch"),
            active=self._slots["active"],
            previous=self._slots["previous"],
            quarantined=tuple(quarantined),
            error=ReportedError(code="unknown_saved_state", error_class="terminal", detail=why),
        )

    def _read_slot(self, name: str) -> str | None:
        try:
            digest = _as_document((self._folder / name).read_bytes()).get("digest")
        except FileNotFoundError:
            return None
        return digest if _is_digest(digest) else None

    def _set_slot(self, name: str, digest: str | None) -> None:
        if self._slots[name] != digest:
            write_durably(self._folder / name, canonical_json({"digest": digest}))
            self._slots[name] = digest


def saved_workloads(state_dir: Path) -> list[str]:
    """Return the workloads that have a folder, by name."""
    folder = state_dir / "workloads"
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def _as_document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _as_list(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    return found if isinstance(found, list) else []


def _as_count(document: dict[str, Any], name: str) -> int:
    found = document.get(name)
    return found if isinstance(found, int) and found > 0 else 0


def _is_digest(digest: object) -> bool:
    return isinstance(digest, str) and len(digest) == _DIGEST_LENGTH and set(digest) <= set("0123456789abcdef")
