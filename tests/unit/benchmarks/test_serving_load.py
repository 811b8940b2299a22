"""The serving benchmark's own parts: the application keeps its pace, and what it notes is counted to the right time."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from agent.gateway.base import Outcome
from benchmarks.common import repository
from benchmarks.load.client import Application, Asked, Order
from benchmarks.load.cpu import cpu_ns
from benchmarks.load.site import Change, lost, quantile_ms
from benchmarks.serving import AFTERWARDS_S, Seen, switch_claims
from tests.unit.agent.gateway.http.http_kit import serving

OLD, NEW = "a" * 64, "b" * 64


def order(folder: Path, **changes: object) -> Order:
    (folder / "body").write_bytes(b'{"query": [1]}')
    fields = {
        "socket": str(folder / "agent.sock"),
        "target": "/v1/workloads/main/predict",
        "content_type": "application/json",
        "body_path": str(folder / "body"),
        "result_path": str(folder / "asked.json"),
        "rate_hz": 200.0,
        "seconds": 0.2,
        "connections": 4,
    }
    return Order(**{**fields, **changes})  # type: ignore[arg-type]


def test_queries_are_due_on_a_grid_whatever_becomes_of_them(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.lane.outcome = Outcome(reason="queue_full", detail="so it is")
        application = Application(order(tmp_path))
        application.run()
    due = sorted(each.due_s for each in application.asked)
    assert len(due) in (40, 41)
    assert all(abs(late - early - 0.005) < 1e-6 for early, late in itertools.pairwise(due))
    assert {(each.status, each.said) for each in application.asked} == {(429, "queue_full")}
    assert all(each.latency_s >= each.late_s >= 0 for each in application.asked)


def test_a_run_leaves_what_it_asked_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(json.dumps(asdict(order(tmp_path, rate_hz=0, connections=1))))
    command = [sys.executable, "-m", "benchmarks.load.client", str(tmp_path / "order.json")]
    with serving(tmp_path), subprocess.Popen(command, stdin=subprocess.PIPE, cwd=repository()) as process:
        assert process.wait(30) == 0
    asked = [Asked(**each) for each in json.loads((tmp_path / "asked.json").read_text())]
    assert {(each.status, each.said) for each in asked} == {(200, NEW)}


def test_an_agent_that_is_not_there_is_noted(tmp_path: Path) -> None:
    application = Application(order(tmp_path, seconds=0.01, connections=1))
    application.run()
    assert {(each.status, each.said) for each in application.asked} == {(0, "FileNotFoundError")}
    assert set(lost(application.asked)) == {"0 FileNotFoundError"}


def asked(due_s: float, latency_s: float, said: str = OLD, status: int = 200) -> Asked:
    return Asked(due_s, 0.0, latency_s, status, said)


def test_a_query_counts_to_the_time_when_it_was_due() -> None:
    change = Change(published_s=10.0, changing_s=11.0, settled_s=13.0, digest=NEW)
    queries = [asked(9.0, 0.001), asked(10.5, 0.002), asked(11.2, 0.3), asked(11.4, 0.2, NEW), asked(12.5, 0.004, NEW)]
    queries += [asked(12.7, 0.005, NEW), asked(13.0 + AFTERWARDS_S + 0.1, 0.002, NEW)]
    seen = Seen(queries, [change], 0.0, [])
    assert [each.due_s for each in seen.steady] == [9.0, 14.1]
    assert [each.due_s for each in seen.before] == [10.5]
    assert [each.due_s for each in seen.during] == [11.2, 11.4, 12.5]
    none_lost, p99 = switch_claims("", seen)
    assert (none_lost.value, none_lost.holds) == (0, True)
    assert (p99.value, p99.holds) == (150.0, False)


def test_one_query_that_is_lost_is_too_many() -> None:
    change = Change(1.0, 1.1, 2.0, NEW)
    queries = [asked(0.5, 0.001), asked(1.05, 0.001), asked(1.2, 0.001, "no_worker", 503), asked(1.3, 0.001, NEW)]
    claim = switch_claims("", Seen(queries, [change], 0.0, []))[0]
    assert (claim.value, claim.holds) == (1, False)
    assert "503 no_worker" in claim.how


def test_quantiles_are_latencies_that_were_measured() -> None:
    queries = [asked(0, number / 1000) for number in range(1, 101)]
    assert [quantile_ms(queries, fraction) for fraction in (0.5, 0.99, 1.0)] == pytest.approx([50.0, 99.0, 100.0])
    with pytest.raises(ValueError, match="no query"):
        quantile_ms([], 0.5)


def test_processor_time_rises_with_work() -> None:
    before = cpu_ns()
    sum(range(2_000_000))
    assert cpu_ns(os.getpid()) > before
