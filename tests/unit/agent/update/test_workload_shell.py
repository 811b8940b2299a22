"""The shell around a machine: a faulty disk loses no event, and a stop begins nothing."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.errors import DiskFull
from agent.loop import Loop
from agent.supervise.run import RunSetup
from agent.supervise.serving import Serving
from agent.update import slots
from agent.update.slots import WorkloadFolder
from agent.update.vocabulary import Checked, DesiredArrived, ProbationOver, Saved, Tell
from agent.update.workload import SAVE_AGAIN_S, Device, Workload
from tests.unit.agent.update.samples import FACTS, desired, saved
from wire.device_state import State
from wire.update import Have


class Around:
    """Reporter, downloads and store of a device on which nothing happens."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.loop = Loop(lambda: self.now_s)
        self.told: list[str | None] = []
        self.left: list[str] = []
        self.reported: list[tuple[str | None, str | None]] = []
        self.complete: Path | None = None
        config = AgentConfig.model_validate({"fleet": "farm", "device": "barn-1", "state_dir": folder})
        self.attached: list[str] = []
        self.committed: list[int] = []
        gateway = SimpleNamespace(
            listen=lambda *_: None,
            expect=lambda _: None,
            attach=lambda _, run: self.attached.append(run.bundle),
            idle=lambda _: None,
        )
        setup = RunSetup(self.loop, config, gateway)  # type: ignore[arg-type]
        serving = Serving("main", setup, lambda _: None, lambda *_: None)
        device = Device(
            config=config,
            loop=self.loop,
            store=self,  # type: ignore[arg-type]
            downloads=self,  # type: ignore[arg-type]
            reporter=self,  # type: ignore[arg-type]
            facts=lambda _: FACTS,
            collect_garbage=lambda _: None,
            when_not_measuring=self.loop.post,
            committed=lambda: self.committed.append(self.workload.saved.gen),
        )
        self.workload = Workload(WorkloadFolder(folder / "workloads" / "main"), serving, device)

    def tell(self, _: str, tell: Tell) -> None:
        self.told.append(tell.reason)

    def report(self, _saved: Saved, active: str | None, serving: str | None, _have: Have | None = None) -> None:
        self.reported.append((active, serving))

    def find(self, _: str) -> Path | None:
        return self.complete

    def leave(self, who: str) -> None:
        self.left.append(who)

    def turn(self, seconds: float = 0.0) -> None:
        self.now_s += seconds
        self.loop.post(self.loop.stop)
        self.loop.run()


@pytest.fixture
def around(tmp_path: Path) -> Around:
    return Around(tmp_path)


@pytest.mark.parametrize(
    ("fault", "reason"), [(DiskFull("no room"), "disk_full"), (OSError(30, "Read-only file system"), "disk_error")]
)
def test_an_event_that_cannot_be_saved_comes_again(
    around: Around, monkeypatch: pytest.MonkeyPatch, fault: Exception, reason: str
) -> None:
    def broken(*_: Any) -> None:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(slots, "write_durably", broken)
        around.workload.handle(DesiredArrived(desired(5), FACTS))
    assert around.workload.saved.state is State.IDLE
    assert around.told == [reason]
    around.turn(SAVE_AGAIN_S + 1.0)
    assert around.workload.saved.gen == 5


def test_who_waits_for_a_commit_is_told_once_it_is_on_the_disk(around: Around) -> None:
    workload = around.workload
    workload.saved = saved(State.PROBATION)
    workload.handle(ProbationOver(workload.saved.ticket))
    assert workload.saved.state is State.COMMITTED
    assert around.committed == [5]
    workload.report()
    assert around.committed == [5]


def test_after_a_stop_nothing_is_begun(around: Around) -> None:
    around.workload.handle(DesiredArrived(desired(5), FACTS))
    around.workload.stop()
    before = around.workload.saved
    around.turn()  # the answer of CHECK was on its way
    around.workload.handle(Checked(before.ticket, FACTS))
    around.workload.handle(DesiredArrived(desired(6), FACTS))
    assert around.workload.saved == before
    assert around.left == ["workload main"]


def test_a_bundle_on_the_disk_without_a_ready_worker_is_active_and_not_serving(
    around: Around, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder says what should run; whether it does is said beside it, and said again when that changes."""
    bundle, workload = "a" * 64, around.workload
    workload.saved = workload.saved.model_copy(update={"active": bundle})
    around.complete = tmp_path
    workload.report()
    assert around.reported == [(bundle, None)]
    run = SimpleNamespace(bundle=bundle, ready=True, stopping=False, kill=lambda: None)
    monkeypatch.setattr(workload.serving, "_run", run)
    workload.serving._ready(run)  # type: ignore[arg-type]
    around.turn()
    assert around.reported[1:] == [(bundle, bundle)]
    assert around.attached == [bundle]
    run.ready = False
    workload.stop()
    workload.serving._ended(run, None)  # type: ignore[arg-type]
    around.turn()
    assert len(around.reported) == 2
