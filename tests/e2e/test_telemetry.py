"""What a fleet tells of its serving: summaries within their budget, single queries only on request and for a while."""

import json
import time
from typing import Any

import pytest

from controller.cli.entry import run
from controller.rollout.view import Phase
from controller.service import Service
from tests.e2e.bundles import Bundles
from tests.e2e.watcher import FLEET
from tests.e2e.world import World
from wire.base import encode
from wire.telemetry import MOST_BYTES, Metrics, WorkloadMetrics

pytestmark = pytest.mark.e2e


def command(world: World, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """Run a command of the controller and return the JSON that it prints."""
    capsys.readouterr()
    assert run(["--workspace", str(world.workspace.root), *arguments, "--json"]) == code
    printed = capsys.readouterr().out
    return json.loads(printed) if code == 0 else None


def told(service: Service, bundle: str) -> WorkloadMetrics | None:
    """Return the device's newest metrics of a bundle, once its lane and its worker have both counted."""
    for device in service.devices(FLEET):
        metrics: Metrics | None = device.metrics
        for each in metrics.workloads if metrics else ():
            if each.active == bundle and each.queries and each.answered and each.inputs:
                return each
    return None


def test_summaries_come_by_themselves_and_single_queries_on_request(
    world: World, bundles: Bundles, capsys: pytest.CaptureFixture[str]
) -> None:
    world.agent("barn-1", serve={"source": {"kind": "replay", "rate_hz": 40.0}})
    service, bundle = world.service(), bundles.good(world.artifacts, "told")
    world.phase(service, world.rollout(service, bundle, ["barn-1"]), Phase.COMPLETED)

    metrics = world.watcher.wait("metrics of worker and lane", lambda: told(service, bundle))
    assert len(encode(metrics)) <= MOST_BYTES
    assert set(metrics.inputs) == {"mean", "deviation", "smallest", "largest"}
    assert sum(metrics.confidence) == sum(metrics.predictions.values()) == metrics.queries
    assert metrics.answered <= metrics.deadlines <= metrics.answered + metrics.lost
    assert 0 < metrics.worker_pss_bytes <= metrics.worker_rss_bytes
    assert metrics.gateway_pss_bytes > 0
    (row,) = command(world, capsys, "fleet", "show", FLEET, "--device", "barn-1")["devices"]
    times = row["workloads"][0]["metrics"]["times"]
    assert times["total_ms"]["p50_ms"] >= times["latency_ms"]["p50_ms"] >= times["infer_ms"]["p50_ms"] > 0

    before = time.time()
    asked = ["fleet", "raw", FLEET, "barn-1", "--workload", "main", "--seconds", "10", "--most", "25"]
    document = command(world, capsys, *asked)
    records = document["records"]
    assert (len(records), document["ended"]) == (25, "full")
    answered = [record for record in records if "reason" not in record]  # on a busy host a newer query takes the place
    assert answered
    for record in answered:
        assert record["total_ms"] >= record["pre_ms"] + record["infer_ms"] + record["post_ms"]
        assert (record["bundle"], 0 < record["confidence"] <= 1) == (bundle[:12], True)
    assert [record["at_ms"] for record in records] == sorted(record["at_ms"] for record in records)
    assert before - 1 <= records[0]["at_ms"] / 1e3 <= time.time()
    command(world, capsys, "fleet", "raw", FLEET, "barn-1", "--workload", "nothing", code=4)
