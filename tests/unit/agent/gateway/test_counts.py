"""What a lane counts is told once, zeros left out, and stays bounded."""

import json
import math
from pathlib import Path

from agent.device.vitals import OwnMemory
from agent.gateway.counts import MOST_REASONS, OTHER_REASON, LaneCounts
from wire.telemetry import WorkloadMetrics


def told(counts: LaneCounts) -> WorkloadMetrics:
    """Return the interval as the control process reads it: through a line of JSON."""
    return WorkloadMetrics.model_validate({**json.loads(json.dumps(counts.take())), "workload": "main"})


def test_an_interval_is_told_once() -> None:
    counts = LaneCounts()
    for wait_ms in (0.0, 1.0, 3.0):
        counts.arrived()
        counts.answered(10.0 + wait_ms, wait_ms, missed=wait_ms > 2)
    counts.arrived()
    counts.refused("timeout")
    counts.refused("bad_reading")
    counts.undelivered("webhook_timeout")
    for waiting in (1, 5, 2):
        counts.depth(waiting)
    counts.held(4)
    first, second = told(counts), told(counts)
    assert (first.arrived, first.answered, first.lost) == (4, 3, 2)
    assert first.lost_by_reason == {"timeout": 1, "bad_reading": 1}
    assert first.sinks_by_reason == {"webhook_timeout": 1}
    assert (first.deadlines, first.deadline_misses, first.queue_depth, first.held) == (3, 1, 5, 4)
    assert first.total_ms is not None
    assert first.wait_ms is not None
    assert (first.total_ms.total, first.wait_ms.zeros, first.wait_ms.maximum) == (34.0, 1, 3.0)
    assert (second.arrived, second.lost_by_reason, second.queue_depth, second.total_ms) == (0, {}, 0, None)


def test_queries_without_a_deadline_miss_none() -> None:
    counts = LaneCounts()
    counts.answered(5.0, 1.0)
    found = told(counts)
    assert (found.deadlines, found.deadline_misses) == (0, 0)
    counts.missed_deadline()
    found = told(counts)
    assert (found.deadlines, found.deadline_misses) == (1, 1)


def test_reasons_are_bounded_and_nothing_is_lost() -> None:
    counts = LaneCounts()
    for number in range(500):
        counts.refused(f"reason_{number}")
        counts.undelivered(f"reason_{number}")
    found = told(counts)
    for by_reason in (found.lost_by_reason, found.sinks_by_reason):
        assert len(by_reason) == MOST_REASONS
        assert by_reason[OTHER_REASON] == 500 - (MOST_REASONS - 1)


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    counts = LaneCounts()
    counts.answered(-1.0, -0.5)
    found = told(counts)
    assert found.total_ms is not None
    assert found.total_ms.zeros == 1


def test_memory_is_read_now_and_then(tmp_path: Path) -> None:
    rollup = tmp_path / "proc/self/smaps_rollup"
    rollup.parent.mkdir(parents=True)
    rollup.write_text("Rss: 9 kB\nPss:                10 kB\nPss_Anon: 3 kB\n")
    often, seldom = OwnMemory(tmp_path, every_s=0.0), OwnMemory(tmp_path, every_s=math.inf)
    assert (often.pss_bytes(), seldom.pss_bytes()) == (10 * 1024, 10 * 1024)
    rollup.unlink()
    assert (often.pss_bytes(), seldom.pss_bytes()) == (None, 10 * 1024)
