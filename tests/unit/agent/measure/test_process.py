"""Whatever becomes of a worker, the one who asked gets a result."""

import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.errors import WorkerNotStarted
from agent.measure import process
from agent.measure.orders import Result, SelftestOrder
from agent.measure.process import Canceled, run_worker


def give(folder: Path, what: str, timeout_s: float = 60.0, cancel: threading.Event | None = None) -> Result:
    order = SelftestOrder(bundle_dir=folder, result_path=folder / "result.json", cache_dir=Path(what))
    return run_worker(order, timeout_s, cancel or threading.Event()).result


@pytest.fixture(autouse=True)
def _fake_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MODULE", "tests.unit.agent.measure.fake_worker")


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("segfault", "ended by SIGSEGV.*about to end"),
        ("exit", "exit code 7.*about to end"),
        ("garbage", "no readable result"),
        ("nothing", "no readable result"),
    ],
)
def test_a_crash_is_a_result(tmp_path: Path, what: str, text: str) -> None:
    result = give(tmp_path, what)
    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error.code == "worker_crashed"
    assert re.search(text, result.error.detail)


def test_a_hang_is_ended_and_is_a_result(tmp_path: Path) -> None:
    result = give(tmp_path, "hang", timeout_s=1.0)
    assert result.error is not None
    assert result.error.code == "worker_timed_out"


def test_an_older_result_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(Result(outcome="ok").model_dump_json())
    assert give(tmp_path, "exit").outcome == "failed"
    assert give(tmp_path, "nothing").outcome == "failed"


def test_cancelling_ends_the_worker(tmp_path: Path) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.5, cancel.set)
    timer.start()
    with pytest.raises(Canceled):
        give(tmp_path, "hang", cancel=cancel)


@pytest.mark.parametrize("module", ["tests.unit.agent.measure.fake_worker", "no.such.worker"])
def test_an_end_before_the_work_began_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """An order that cannot be read, and a module that cannot be loaded: neither says anything about a bundle."""
    monkeypatch.setattr(process, "MODULE", module)
    with pytest.raises(WorkerNotStarted, match="before its work began; last output"):
        give(tmp_path, "refuses")


def test_what_holds_the_cap_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.child.make_leaf", lambda *_: None)
    order = SelftestOrder(
        bundle_dir=tmp_path, result_path=tmp_path / "result.json", cache_dir=Path("exit"), memory_cap_bytes=2**28
    )
    answer = run_worker(order, 60.0, threading.Event())
    assert answer.memory_cap_by == "rlimit"
    assert answer.result.error is not None
    assert "bytes (rlimit)" in answer.result.error.detail


def test_a_compilers_heartbeat_puts_the_end_off_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    deadline = process.Deadline(10.0)
    for beat_s in range(1, int(process.COMPILE_LIMIT_S) + 100):
        now_s = float(beat_s)
        assert not deadline.is_over or beat_s >= process.COMPILE_LIMIT_S + 9
        deadline.heard({"event": "compiling", "seconds": now_s})
    assert deadline.is_over
    now_s = 0.0
    other = process.Deadline(10.0)
    now_s = 9.0
    other.heard({"event": "phase"})
    now_s = 10.5
    assert other.is_over


def test_a_worker_that_compiles_outlives_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = give(tmp_path, "compiles", timeout_s=1.5)
    assert result.error is not None
    assert result.error.code == "worker_crashed"  # it ended by itself, without a result
    monkeypatch.setattr(process, "COMPILE_LIMIT_S", 0.0)
    again = give(tmp_path, "compiles", timeout_s=1.5)
    assert again.error is not None
    assert again.error.code == "worker_timed_out"


def test_progress_is_passed_on(tmp_path: Path) -> None:
    heard: list[Mapping[str, Any]] = []
    order = SelftestOrder(bundle_dir=tmp_path, result_path=tmp_path / "result.json", cache_dir=Path("nothing"))
    run_worker(order, 60.0, threading.Event(), heard.append)
    assert heard == [{"event": "phase", "phase": "import_ms", "ms": 1.0}]
