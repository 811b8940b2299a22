"""Loads, profiles, energy, threads: what a session asks of workers besides speed and memory."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.measure import protocol, queue, session
from agent.measure.energy import EnergyMeter
from agent.measure.host import pages
from agent.measure.orders import BaseOrder, LoadOrder, MeasureOrder, Result, ResultError
from agent.measure.process import Answer
from agent.measure.protocol import GRADES
from agent.measure.record import Measured
from agent.measure.session import MeasureContext, Session
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from tests.unit.agent.measure.test_queue import context, measured, replicate, request
from wire.sweep import sweep
from wire.trial import OperatorCost, Phases, Profile, ScenarioSettings


@pytest.fixture(autouse=True)
def _at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "wait_until_at_rest", lambda *_: (0.0, ()))


def session_in(folder: Path, meter: EnergyMeter | None = None) -> Session:
    folder.mkdir(exist_ok=True)
    return Session(context(), folder, threading.Event(), meter)


def answering(monkeypatch: pytest.MonkeyPatch, results: dict[str, Result]) -> list[BaseOrder]:
    """Let workers answer by the kind of their order; return the orders that they get."""
    orders: list[BaseOrder] = []

    def worker(order: Any, *_: Any, **__: Any) -> Answer:
        orders.append(order)
        return Answer(results.get(order.kind, Result(outcome="ok")))

    monkeypatch.setattr(session, "run_worker", worker)
    return orders


def test_loads_are_cold_then_warm_and_the_first_one_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kit.write_bundle(tmp_path / "b")
    orders = answering(monkeypatch, {"load": Result(outcome="ok", phases=Phases(load_ms=1.0))})
    made = session_in(tmp_path / "work")
    first, second = (Measured(request(name, "a" * 64, grade="normal"), tmp_path / "b", None) for name in "ab")
    made.loads(first)
    made.loads(second)
    loads = [order for order in orders if isinstance(order, LoadOrder)]
    assert len(loads) == len(orders) == 4 * GRADES["normal"].loads
    assert [order.compiles for order in loads] == [True] + [False] * (len(loads) - 1)
    assert loads[0].memory_cap_bytes is None
    assert loads[0].cache_dir != loads[1].cache_dir == loads[2].cache_dir
    assert [order.cold for order in loads[1::2]] == [False] * (len(loads) // 2)
    assert [len(one.cold_loads) for one in (first, second)] == [3, 3]
    assert [len(one.warm_loads) for one in (first, second)] == [3, 3]


def test_quick_has_no_loads_and_a_load_that_fails_takes_nothing_from_the_trial(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kit.write_bundle(tmp_path / "b")
    failed = Result(outcome="failed", error=ResultError(code="out_of_memory"))
    orders = answering(monkeypatch, {"load": failed})
    quick, normal = (
        Measured(request("a", "a" * 64, grade=grade), tmp_path / "b", None) for grade in ("quick", "normal")
    )
    made = session_in(tmp_path / "work")
    made.loads(quick)
    assert orders == []
    made.loads(normal)
    assert (normal.alive, normal.cold_loads, normal.warm_loads) == (True, [], [])


def test_a_real_cold_load_finds_nothing_in_memory_and_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ensure_warm()
    kit.write_bundle(tmp_path / "b")
    monkeypatch.setitem(protocol.GRADES, "normal", replace(protocol.NORMAL, loads=1))
    one = Measured(request("a", "a" * 64, grade="normal"), tmp_path / "b", None)
    session_in(tmp_path / "work").loads(one)
    (cold,), (warm,) = one.cold_loads, one.warm_loads
    pages.drop(pages.bundle_files(tmp_path / "b"))
    left = pages.resident_ratio(pages.bundle_files(tmp_path / "b"))
    assert cold.cold is (left is not None and left <= pages.COLD_RATIO)  # on a file system in memory nothing is dropped
    assert (cold.kernels, cold.cache_hits) == ("numba", 0)
    assert cold.cache_misses
    assert (warm.cold, warm.kernels, warm.cache_misses) == (False, "library", 0)
    assert cold.compile_ms is not None
    assert warm.compile_ms is not None
    assert cold.compile_ms > warm.compile_ms  # compiling is seconds, loading a library is not


def test_a_profile_is_taken_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    operators = (OperatorCost(operator="Conv", calls=1, total_ns=1.0, share_ratio=1.0),)
    profile = Profile(engine="onnxruntime", queries=8, operators=operators)
    results = {
        "measure": Result(outcome="ok", replicate=replicate(100)),
        "profile": Result(outcome="ok", profile=profile),
    }
    orders = answering(monkeypatch, results)
    bundles = {"a" * 64: tmp_path}
    assert measured([request("a", "a" * 64)], bundles, {})["a"].profile is None
    assert "profile" not in [order.kind for order in orders]  # type: ignore[attr-defined]
    assert measured([request("a", "a" * 64, profile=True)], bundles, {})["a"].profile == profile
    results["profile"] = Result(outcome="failed", error=ResultError(code="engine_failed", detail="no profiler"))
    record = measured([request("a", "a" * 64, profile=True)], bundles, {})["a"]
    assert (record.outcome, record.profile) == ("measured", None)
    assert record.conditions["profile_error"] == "engine_failed: no profiler"
    assert [(flag.reason, flag.void) for flag in record.flags] == [("not_profiled", False)]
    assert record.validity is not None
    assert record.validity.valid


def restless(latencies_ns: list[int]) -> list[Result]:
    return [Result(outcome="ok", replicate=replicate(latency)) for latency in latencies_ns]


@pytest.mark.parametrize(("longest_s", "processes", "loads"), [(None, 10, 3), (1e6, 10, 3), (0.0, 5, 0)])
def test_what_does_not_fit_into_the_pause_is_left_out_and_the_rest_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, longest_s: float | None, processes: int, loads: int
) -> None:
    """Five processes disagree: five more are worth it, where serving need not go on."""
    kit.write_bundle(tmp_path / "b")
    answers = restless([100, 150] * 10)

    def worker(order: Any, *_: Any, **__: Any) -> Answer:
        results = {"measure": answers, "load": [Result(outcome="ok", phases=Phases())] * 9}
        return Answer(results[order.kind].pop(0) if order.kind in results else Result(outcome="ok"))

    monkeypatch.setattr(session, "run_worker", worker)
    asked = request("a", "a" * 64, grade="normal")
    record = measured([asked], {"a" * 64: tmp_path / "b"}, {}, longest_s=longest_s)["a"]
    assert (record.outcome, len(record.replicates), len(record.cold_loads)) == ("measured", processes, loads)
    assert "interval_not_reached" in [flag.reason for flag in record.flags]


class Steady:
    """A sensor that gives three watts."""

    every_s, source, least_s = 0.05, "test", 10.0

    def joules(self, at_ns: int) -> float:
        return 3.0 * at_ns / 1e9


def test_energy_is_that_of_the_timed_loop_above_idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import time

    def worker(*_: Any, **__: Any) -> Answer:
        begin = time.monotonic_ns()
        time.sleep(0.2)
        readings = {"timed_begin_ns": begin, "timed_end_ns": time.monotonic_ns(), "queries": 50}
        return Answer(Result(outcome="ok", replicate=replicate(100).model_copy(update={"conditions": readings})))

    monkeypatch.setattr(session, "run_worker", worker)
    one = Measured(request("a", "a" * 64), tmp_path, None, idle_w=1.0)
    made = session_in(tmp_path / "work", EnergyMeter(Steady, "test", least_s=0.1))
    made._replicate(one)
    (found,) = one.energies.values()
    assert (found.source, found.idle_w, found.queries) == ("test", 1.0, 50)
    assert found.mean_w == pytest.approx(3.0, rel=1e-6)
    assert found.joules_per_query == pytest.approx(2.0 * found.seconds / 50, rel=1e-6)
    short = session_in(tmp_path / "work", EnergyMeter(Steady, "test", least_s=1000.0))
    other = Measured(request("b", "a" * 64), tmp_path, None, idle_w=1.0)
    short._replicate(other)
    assert other.energies == {}


def test_without_a_sensor_or_on_an_emulated_device_there_is_no_energy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answering(monkeypatch, {"measure": Result(outcome="ok", replicate=replicate(100))})
    monkeypatch.setattr(queue, "find_meter", lambda: None)
    record = measured([request("a", "a" * 64)], {"a" * 64: tmp_path}, {})["a"]
    assert (record.energy, record.energy_j) == (None, None)

    def never() -> EnergyMeter:
        raise AssertionError("an emulated device has no sensor of its own")

    monkeypatch.setattr(queue, "find_meter", never)
    assert measured([request("a", "a" * 64)], {"a" * 64: tmp_path}, {}, emulated=True)["a"].energy is None


def test_threads_and_settings_of_a_request_reach_the_worker_and_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(queue, "usable_threads", lambda *_: 4)
    orders = answering(monkeypatch, {"measure": Result(outcome="ok", replicate=replicate(100))})
    asked = request("a", "a" * 64, scenario="offline", settings=ScenarioSettings(queries=77))
    points = sweep(asked, threads=(2, 4, 8), batches=(1, 16))
    records = measured(list(points), {"a" * 64: tmp_path}, {}, threads=1)
    outcomes = {trial: record.outcome for trial, record in records.items()}
    assert [trial for trial, outcome in outcomes.items() if outcome == "incompatible"] == ["a-t8-b1", "a-t8-b16"]
    assert "threads_unavailable: 8 threads are asked for" in records["a-t8-b1"].error
    record = records["a-t4-b16"]
    assert (record.threads, record.settings, record.scenario) == (4, ScenarioSettings(batch=16, queries=77), "offline")
    given = [order for order in orders if isinstance(order, MeasureOrder)]
    assert {(order.threads, order.settings.batch, order.scenario) for order in given} == {
        (threads, batch, "offline") for threads in (2, 4) for batch in (1, 16)
    }
    assert not [flag for flag in record.flags if flag.reason == "oversubscribed"]


def test_a_device_set_to_more_threads_than_cores_is_measured_and_flagged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(queue, "usable_threads", lambda *_: 2)
    answering(monkeypatch, {"measure": Result(outcome="ok", replicate=replicate(100))})
    record = measured([request("a", "a" * 64)], {"a" * 64: tmp_path}, {}, threads=4)["a"]
    assert (record.outcome, record.threads) == ("measured", 4)
    assert [flag.reason for flag in record.flags] == ["oversubscribed"]


def test_the_record_says_how_many_threads_the_variant_really_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bundle may ask for fewer than the device allows: then it is not the device that has too many."""
    monkeypatch.setattr(queue, "usable_threads", lambda *_: 2)
    told = replicate(100)
    told = told.model_copy(update={"conditions": {**told.conditions, "engine_settings": {"intra_op_threads": 1}}})
    answering(monkeypatch, {"measure": Result(outcome="ok", replicate=told)})
    record = measured([request("a", "a" * 64)], {"a" * 64: tmp_path}, {}, threads=4)["a"]
    assert (record.outcome, record.threads) == ("measured", 1)
    assert not [flag for flag in record.flags if flag.reason == "oversubscribed"]


def test_a_context_says_nothing_to_nobody() -> None:
    MeasureContext(fleet="f", device="d", agent_version="0").say("event", field=1)
