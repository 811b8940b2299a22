"""Every scenario in a real worker process, on small real models that take a batch, and on one that does not."""

import threading
from pathlib import Path
from typing import Any

import pytest

from agent.measure.orders import MeasureOrder, Result
from agent.measure.process import run_worker
from agent.measure.protocol import GRADES
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from wire.trial import Replicate, Scenario, ScenarioSettings

RULE = GRADES["quick"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ensure_warm()
    folder = tmp_path_factory.mktemp("bundles")
    kit.write_bundle(folder / "free")
    (folder / "fixed").mkdir()
    kit.save_linear_model(folder / "fixed/model.onnx", batch=1)
    kit.write_bundle(folder / "fixed")
    return folder


def carry_out(bundles: Path, name: str, scenario: Scenario, **settings: Any) -> Result:
    order = MeasureOrder(
        bundle_dir=bundles / name,
        result_path=bundles / "result.json",
        grade="quick",
        scenario=scenario,
        settings=ScenarioSettings(**settings),
    )
    return run_worker(order, 60.0, threading.Event()).result


def replicate(bundles: Path, name: str, scenario: Scenario, **settings: Any) -> Replicate:
    result = carry_out(bundles, name, scenario, **settings)
    assert result.replicate is not None, result.error
    return result.replicate


@pytest.mark.parametrize(("name", "as_batch"), [("free", True), ("fixed", False)])
def test_streams_run_as_a_batch_or_say_that_they_did_not(bundles: Path, name: str, as_batch: bool) -> None:
    found = replicate(bundles, name, "multi_stream", streams=4)
    assert found.conditions["as_batch"] is as_batch
    assert ("streams_in_sequence" in found.flags) is not as_batch
    assert found.conditions["queries"] == 4 * found.conditions["calls_per_sample"] * found.total_ns.count
    assert found.queries_per_second is None
    assert found.conditions["compiled_while_timing"] == 0


def test_one_stream_is_no_batch(bundles: Path) -> None:
    found = replicate(bundles, "fixed", "multi_stream", streams=1)
    assert (found.conditions["as_batch"], found.conditions["streams"]) == (None, 1)
    assert "streams_in_sequence" not in found.flags


@pytest.mark.parametrize("batch", [1, 16])
def test_offline_answers_as_many_queries_as_asked_and_tells_how_many_a_second(bundles: Path, batch: int) -> None:
    found = replicate(bundles, "free", "offline", batch=batch, queries=20_000 if batch > 1 else 64)
    queries, seconds = found.conditions["queries"], found.conditions["timed_s"]
    assert queries % batch == 0
    assert queries >= 64 if batch == 1 else queries >= 20_000 or seconds >= RULE.timed_cap_s
    assert found.queries_per_second == pytest.approx(queries / seconds, rel=1e-3)
    assert found.wait_ns is None


def test_server_answers_arrivals_at_half_the_devices_rate(bundles: Path) -> None:
    found = replicate(bundles, "free", "server", bound_ms=1e6)
    assert found.wait_ns is not None
    assert found.wait_ns.count == found.total_ns.count == found.conditions["queries"] >= RULE.timed_runs
    for wait, total in zip(found.wait_ns.unpack(), found.total_ns.unpack(), strict=True):
        assert 0 <= wait < total
    assert found.over_bound_ratio == 0.0
    assert found.conditions["calls_per_sample"] == 1
    assert "mean_of_k" not in found.flags
    assert found.conditions["rate_hz"] > 100  # the model takes microseconds
    assert found.queries_per_second is not None


def test_a_rate_that_the_device_cannot_keep_is_flagged(bundles: Path) -> None:
    found = replicate(bundles, "free", "server", rate_hz=1e6, bound_ms=1e-6)
    assert "overloaded" in found.flags
    assert found.over_bound_ratio == 1.0
    assert found.conditions["timed_s"] <= RULE.timed_cap_s * 1.5


def test_a_pace_is_kept_and_the_processor_rests_in_between(bundles: Path) -> None:
    found = replicate(bundles, "fixed", "paced", period_ms=20.0)
    assert found.wait_ns is not None
    assert 3 <= found.total_ns.count <= RULE.timed_cap_s * 50 + 1
    assert found.conditions["period_ms"] == 20.0
    assert found.conditions["busy_ratio"] < 0.9
    assert found.queries_per_second is None


@pytest.mark.parametrize(
    ("name", "scenario", "settings", "code"),
    [
        ("fixed", "offline", {"batch": 4}, "batch_fixed"),
        ("free", "single_stream", {"batch": 4}, "scenario_unfit"),
        ("free", "server", {"batch": 2}, "scenario_unfit"),
    ],
)
def test_what_a_bundle_cannot_do_is_incompatible_with_a_reason(
    bundles: Path, name: str, scenario: Scenario, settings: dict[str, Any], code: str
) -> None:
    result = carry_out(bundles, name, scenario, **settings)
    assert (result.outcome, result.error and result.error.code) == ("incompatible", code)
    assert result.replicate is None
