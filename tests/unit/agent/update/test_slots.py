"""The saved state and the slots on the disk: what a power cut or another release leaves behind."""

import json
import os
from pathlib import Path

import pytest

from agent.update.slots import WorkloadFolder, saved_workloads
from agent.update.vocabulary import Saved
from tests.unit.agent.update.samples import A, B, C, desired, saved
from wire.device_state import State


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "workloads" / "main"


@pytest.mark.parametrize("state", list(State))
def test_what_was_saved_is_loaded(folder: Path, state: State) -> None:
    kept = saved(state, previous=B, quarantined=(A,), next_desired=desired(9), story=("a", "b"))
    WorkloadFolder(folder).save(kept)
    again = WorkloadFolder(folder)
    assert again.load() == kept
    assert (again.slot("active"), again.slot("previous")) == (C, B)


def test_nothing_saved_is_a_fresh_workload(folder: Path) -> None:
    assert WorkloadFolder(folder).load() == Saved(workload="main")


LOST = [
    b"",
    b"not json",
    b'{"workload":"main","state":"hovering","gen":7,"epoch":2}',
    b'{"workload":"main","state":"idle","gen":7,"epoch":2,"schema_version":2}',
    b'{"workload":"main","state":"download","gen":7,"epoch":2}',
    b"[1]",
]


@pytest.mark.parametrize("content", LOST)
def test_an_unknown_saved_state_rolls_back_to_the_slots(folder: Path, content: bytes) -> None:
    WorkloadFolder(folder).save(saved(State.COMMITTED, active=A, previous=C))
    (folder / "state.json").write_bytes(content)
    lost = WorkloadFolder(folder).load()
    assert (lost.state, lost.active, lost.previous) == (State.ROLLBACK, A, C)
    assert lost.error is not None
    assert lost.error.code == "unknown_saved_state"
    assert lost.gen == (7 if b"gen" in content else 0)


def test_a_missing_state_beside_slots_rolls_back(folder: Path) -> None:
    WorkloadFolder(folder).save(saved(State.COMMITTED, active=A))
    (folder / "state.json").unlink()
    assert WorkloadFolder(folder).load().state is State.ROLLBACK


def test_quarantine_survives_an_unknown_state(folder: Path) -> None:
    WorkloadFolder(folder).save(saved(State.COMMITTED, active=B, quarantined=(A,)))
    document = json.loads((folder / "state.json").read_bytes())
    (folder / "state.json").write_text(json.dumps({**document, "state": "hovering"}))
    assert WorkloadFolder(folder).load().quarantined == (A,)


def test_a_power_cut_while_saving_leaves_the_old_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WorkloadFolder(folder).save(saved(State.DOWNLOAD))

    def no_power(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", no_power)
        with pytest.raises(KeyboardInterrupt):
            WorkloadFolder(folder).save(saved(State.VERIFY))
    assert WorkloadFolder(folder).load().state is State.DOWNLOAD


def test_the_state_is_synced_before_it_is_renamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        done.append("sync")
        real_sync(handle)

    def replace(source: Path, destination: Path) -> None:
        done.append("rename")
        real_replace(source, destination)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    WorkloadFolder(folder).save(saved(State.CHECK, active=None))
    assert done == ["sync", "rename", "sync"]


def test_a_slot_that_holds_no_digest_is_empty(folder: Path) -> None:
    WorkloadFolder(folder).save(saved(State.COMMITTED, active=A))
    (folder / "active").write_text('{"digest": "../../etc"}')
    assert WorkloadFolder(folder).slot("active") is None


def test_workloads_are_found_by_their_folders(tmp_path: Path) -> None:
    assert saved_workloads(tmp_path) == []
    for name in ("soil", "leaf"):
        WorkloadFolder(tmp_path / "workloads" / name).save(Saved(workload=name))
    assert saved_workloads(tmp_path) == ["leaf", "soil"]
