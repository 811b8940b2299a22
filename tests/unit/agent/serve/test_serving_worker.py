"""The serving worker as a real child process, spoken to as the agent speaks to it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit

QUERY = kit.queries(1)[0]


class Served:
    """A running worker and its lines."""

    def __init__(self, folder: Path, **order: Any) -> None:
        path = folder / "order.json"
        path.write_text(json.dumps({"bundle_dir": str(folder / "b"), "source": {"kind": "none"}, **order}))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent.serve.worker", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def say(self, **command: Any) -> None:
        self.write(json.dumps(command))

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self, event: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            heard: dict[str, Any] = json.loads(line)
            if heard["event"] == event:
                return heard
        raise AssertionError(f"the worker ended without {event!r}")

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=30)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    ensure_warm()
    kit.write_bundle(tmp_path / "b")
    return tmp_path


def test_it_is_ready_answers_and_stops(bundle: Path) -> None:
    served = Served(bundle)
    assert served.hear("ready")["rss_bytes"] > 0
    served.say(do="infer", id=5, query=QUERY.tolist())
    answer = served.hear("answer")
    best = np.argsort(-kit.reference(QUERY[np.newaxis])[0])[:2]
    assert (answer["id"], answer["classes"]) == (5, best.tolist())
    assert answer["labels"] == [kit.LABELS[number] for number in best]
    served.say(do="stop")
    assert served.end() == 0


def test_a_bad_query_is_answered_and_counted_and_nothing_crashes(bundle: Path) -> None:
    served = Served(bundle, workload="leaves")
    served.hear("ready")
    for query in ([1, 2, 3], "text", [[1], [2, 3]], None):
        served.say(do="infer", id=1, query=query)
        assert served.hear("answer")["reason"] == "bad_query"
    served.write("no json")
    assert served.hear("error")["reason"] == "bad_command"
    served.say(do="fly")
    assert "fly" in served.hear("error")["detail"]
    served.say(do="infer", id=2, query=QUERY.tolist())
    assert served.hear("answer")["classes"]
    served.say(do="stop")
    metrics = served.hear("metrics")["workload_metrics"]
    assert (metrics["workload"], metrics["queries"], metrics["errors"]) == ("leaves", 5, 4)
    assert metrics["errors_by_reason"] == {"bad_query": 4}
    assert sum(metrics["predictions"].values()) == 1
    assert served.end() == 0


def test_replayed_queries_are_measured_and_pausing_stops_them(bundle: Path) -> None:
    served = Served(bundle, source={"kind": "replay", "rate_hz": 200}, metrics_interval_s=0.3)
    served.hear("ready")
    served.hear("metrics")
    metrics = served.hear("metrics")["workload_metrics"]
    assert metrics["queries"] > 0
    assert sum(metrics["latency_ms"]["buckets"].values()) + metrics["latency_ms"]["zeros"] == metrics["queries"]
    assert set(metrics["predictions"]) <= set(kit.LABELS)
    served.say(do="pause")
    served.hear("paused")
    served.hear("metrics")
    assert served.hear("metrics")["workload_metrics"]["queries"] == 0
    served.say(do="resume")
    served.hear("resumed")
    served.hear("metrics")
    assert served.hear("metrics")["workload_metrics"]["queries"] > 0
    assert served.end() == 0


def test_the_end_of_stdin_is_the_end(bundle: Path) -> None:
    served = Served(bundle)
    served.hear("ready")
    assert served.end() == 0


@pytest.mark.parametrize(
    ("order", "reason", "code"),
    [
        ({"source": {"kind": "camera"}}, "configuration_invalid", 3),
        ({"bundle_dir": "/nonexistent"}, "not_found", 4),
    ],
)
def test_what_cannot_be_served_is_said(bundle: Path, order: dict[str, Any], reason: str, code: int) -> None:
    served = Served(bundle, **order)
    assert served.hear("error")["reason"] == reason
    assert served.process.wait(timeout=30) == code


def test_a_model_that_does_not_load_ends_the_process(bundle: Path) -> None:
    (bundle / "b/model.onnx").write_bytes(b"no model")
    served = Served(bundle)
    assert served.hear("error")["reason"] == "engine_failed"
    assert served.process.wait(timeout=30) == 5
