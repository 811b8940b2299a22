"""The self-test's process: what its ends are called. The process is a stand-in."""

from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.errors import WorkerNotStarted
from agent.measure.orders import Result
from agent.measure.process import Answer, Canceled
from agent.update import selftest
from agent.update.selftest import SelfTestRun, make_order
from wire.trial import Golden
from wire.update import Limits, ReportedError

PASSED = Answer(Result(outcome="ok", golden=Golden(passed=True, samples=8)))


@pytest.mark.parametrize(
    ("end", "answers"),
    [
        (PASSED, [None]),
        (WorkerNotStarted("the leaf was gone"), [("selftest_not_started", "retryable")]),
        (FileNotFoundError("no interpreter"), [("selftest_not_started", "retryable")]),
        (Canceled(), []),
    ],
)
def test_only_what_a_worker_did_counts_against_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Answer | Exception, answers: list[Any]
) -> None:
    def ends(*_: Any, **__: Any) -> Answer:
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(selftest, "run_worker", ends)
    (tmp_path / "run").mkdir()
    order = make_order(tmp_path, AgentConfig.model_validate({"fleet": "f", "device": "d", "state_dir": tmp_path}))
    heard: list[ReportedError | None] = []
    run = SelfTestRun(order, Limits(), heard.append)
    run.start()
    run.join(30)
    assert [error and (error.code, error.error_class) for error in heard] == answers
    assert list((tmp_path / "run").iterdir()) == []
