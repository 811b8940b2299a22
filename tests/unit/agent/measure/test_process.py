"""Whatever becomes of a worker, the one who asked gets a result."""

import re
import threading
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


def test_progress_is_passed_on(tmp_path: Path) -> None:
    heard: list[Mapping[str, Any]] = []
    order = SelftestOrder(bundle_dir=tmp_path, result_path=tmp_path / "result.json", cache_dir=Path("nothing"))
    run_worker(order, 60.0, threading.Event(), heard.append)
    assert heard == [{"event": "phase", "phase": "import_ms", "ms": 1.0}]
