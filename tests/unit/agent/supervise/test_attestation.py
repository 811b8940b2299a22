"""What a device attests to serve is what is ready, and a crash loop does not flood the broker."""

from pathlib import Path

import pytest

from agent.supervise.attestation import Attestation
from agent.supervise.serving import LONGEST_RESTART_S
from tests.unit.agent.supervise.test_serving import CRASH, A, B, Stage


class Attested:
    """The attestation of a stage's workers; every report is kept with its time."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.reports: list[tuple[float, str | None]] = []
        self.attestation = Attestation(stage.loop, stage.serving, self.report)

    def report(self) -> None:
        self.reports.append((self.stage.now_s, self.attestation.take()))

    @property
    def serving(self) -> list[str | None]:
        return [serving for _, serving in self.reports]

    def crash(self, lived_s: float) -> None:
        """Let the newest worker get ready, live for a while, and crash."""
        self.stage.runs[-1].become_ready()
        self.stage.turn()
        self.stage.turn(lived_s)
        self.stage.runs[-1].end(CRASH)
        self.stage.turn()


@pytest.fixture
def attested(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Attested:
    return Attested(Stage(monkeypatch, tmp_path))


def test_a_worker_is_attested_once_it_is_ready_and_no_longer_when_it_crashed(attested: Attested) -> None:
    attested.stage.serving.serve(A)
    attested.stage.turn()
    assert attested.serving == []
    attested.crash(lived_s=5.0)
    assert attested.reports == [(0.0, A), (5.0, None)]


def test_a_worker_that_came_back_is_attested_when_it_lived_as_long_as_it_had_to_wait(attested: Attested) -> None:
    attested.stage.serving.serve(A)
    attested.crash(lived_s=5.0)
    attested.stage.turn(1.1)
    attested.stage.runs[-1].become_ready()
    attested.stage.turn()
    attested.stage.turn(0.9)
    assert attested.serving == [A, None]
    attested.stage.turn(0.2)
    assert attested.serving == [A, None, A]
    attested.stage.turn(100.0)
    assert attested.serving == [A, None, A]


def test_a_crash_loop_is_told_once(attested: Attested) -> None:
    attested.stage.serving.serve(A)
    attested.stage.turn()
    for _ in range(30):
        attested.crash(lived_s=0.5)
        attested.stage.turn(LONGEST_RESTART_S + 0.1)
    assert len(attested.stage.runs) == 31
    assert attested.serving == [A, None]


def test_workers_that_live_a_little_longer_than_they_waited_cost_one_report_a_step(attested: Attested) -> None:
    attested.stage.serving.serve(A)
    attested.stage.turn()
    delay_s, steps = 1.0, 0
    attested.crash(lived_s=0.5)
    while delay_s < LONGEST_RESTART_S:
        attested.stage.turn(delay_s + 0.01)
        attested.stage.runs[-1].become_ready()
        attested.stage.turn()
        attested.stage.turn(delay_s + 0.01)
        attested.stage.runs[-1].end(CRASH)
        attested.stage.turn()
        told_s = [at_s for at_s, _ in attested.reports[-3:]]
        assert told_s[1] - told_s[0] >= delay_s
        assert attested.serving[-2:] == [A, None]
        delay_s, steps = delay_s * 2, steps + 1
    assert len(attested.reports) == 2 + 2 * steps


def test_a_change_of_bundles_is_attested_at_once_and_never_as_nothing(attested: Attested) -> None:
    attested.stage.serving_a()
    attested.stage.turn()
    attested.stage.serving.switch(B, lambda _: None)
    attested.stage.runs[1].become_ready()
    attested.stage.turn()
    attested.stage.runs[0].end()
    attested.stage.turn()
    assert attested.serving == [A, B]


def test_a_report_that_was_made_anyway_is_not_made_again(attested: Attested) -> None:
    attested.stage.serving_a()
    attested.report()
    attested.stage.turn()
    assert attested.serving == [A]


def test_serving_nothing_is_attested(attested: Attested) -> None:
    attested.stage.serving_a()
    attested.stage.turn()
    attested.stage.serving.serve(None)
    attested.stage.runs[0].end()
    attested.stage.turn()
    assert attested.serving == [A, None]
