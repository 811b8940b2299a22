"""A group measured end to end, and what the queue does when something goes wrong."""

import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.errors import WorkerNotStarted
from agent.measure import queue, session
from agent.measure.flags import REMEDIES
from agent.measure.orders import Result
from agent.measure.process import Answer, Canceled, run_worker
from agent.measure.protocol import GRADES
from agent.measure.queue import measure_group
from agent.measure.record import Measured, flags_of, process_medians
from agent.measure.session import STARTS, MeasureContext
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from wire.artifact import ArtifactRef
from wire.trial import Replicate, Samples, TrialRecord, TrialRequest


@pytest.fixture(autouse=True, scope="module")
def _warm() -> None:
    ensure_warm()


def reference(digest: str) -> ArtifactRef:
    return ArtifactRef(digest=digest, index=(digest,), index_bytes=1, size_bytes=1, wire_bytes=1)


def request(trial: str, bundle: str, **fields: Any) -> TrialRequest:
    described = {"trial": trial, "workload": "main", "bundle": reference(bundle), "variant": trial, "grade": "quick"}
    return TrialRequest.model_validate({**described, "format": "onnx", "engine": "onnxruntime", **fields})


def context(**fields: Any) -> MeasureContext:
    return MeasureContext(fleet="farm", device="barn-1", agent_version="0", plan_gen=7, **fields)


def measured(
    requests: list[TrialRequest], bundles: dict[str, Path], evaluations: dict[str, Path], **fields: Any
) -> dict[str, TrialRecord]:
    records = measure_group(requests, bundles, evaluations, context(**fields), threading.Event())
    return {record.trial: record for record in records}


def test_a_group_is_measured_interleaved_and_failures_are_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Control, a variant with wrong golden outputs, one whose engine is not allowed, one that is not here."""
    # On a busy host further processes would follow: that is played below.
    monkeypatch.setitem(GRADES, "quick", replace(GRADES["quick"], looks=()))
    good = kit.write_bundle(tmp_path / "good")
    wrong = kit.write_bundle(tmp_path / "wrong", outputs=kit.reference(kit.queries()) * 3)
    evaluation = kit.write_dataset(tmp_path / "set", kit.queries(20))
    requests = [
        request("control", good, control=True, evaluation=reference(evaluation)),
        request("wrong", wrong),
        request("lite", good, engine="litert"),
        request("gone", "f" * 64),
    ]
    heard: list[tuple[str, Mapping[str, Any]]] = []
    records = measured(
        requests,
        {good: tmp_path / "good", wrong: tmp_path / "wrong"},
        {evaluation: tmp_path / "set"},
        engines_allowed=["onnxruntime"],
        lock_path=tmp_path / "lock",
        progress=lambda event, fields: heard.append((event, fields)),
    )
    outcomes = {trial: record.outcome for trial, record in records.items()}
    assert outcomes == {"control": "measured", "wrong": "unfit", "lite": "incompatible", "gone": "failed"}
    started = [fields["variant"] for event, fields in heard if event == "replicate"]
    assert list(dict.fromkeys(started)) == ["control", "wrong"]
    assert started.count("wrong") == 1
    control = records["control"]
    places = [replicate.order for replicate in control.replicates]
    assert len(places) >= 3
    assert places == sorted(set(places))
    assert max(places) == len(started) - 1
    assert control.memory is not None
    assert control.predictions is not None
    assert control.predictions.samples == 20
    assert (control.fleet, control.device, control.plan_gen, control.threads) == ("farm", "barn-1", 7, 1)
    assert control.engine_options["intra_op_threads"] == 1
    assert records["wrong"].replicates == ()
    assert records["wrong"].golden is not None
    assert "golden_mismatch" in records["wrong"].error
    assert "engine_missing" in records["lite"].error


@pytest.mark.parametrize(
    ("failures", "outcome"), [pytest.param(STARTS - 1, "measured", marks=pytest.mark.long), (1000, "failed")]
)
def test_a_worker_that_could_not_be_started_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, outcome: str
) -> None:
    digest = kit.write_bundle(tmp_path / "b")
    left = [WorkerNotStarted("no room for a process")] * failures

    def unlucky(*arguments: Any, **options: Any) -> Answer:
        if left:
            raise left.pop()
        return run_worker(*arguments, **options)

    monkeypatch.setattr(session, "run_worker", unlucky)
    monkeypatch.setattr(session, "START_AGAIN_S", 0.0)
    record = measured([request("a", digest)], {digest: tmp_path / "b"}, {}, memory_cap_bytes=2**30)["a"]
    assert record.outcome == outcome
    if outcome == "measured":
        assert record.conditions["memory_cap_by"] in ("cgroup", "rlimit")
    else:
        assert record.error == f"worker_not_started: {STARTS} tries; the last: no room for a process"


def test_cancelling_yields_nothing_more(tmp_path: Path) -> None:
    digest = kit.write_bundle(tmp_path / "b")
    cancel = threading.Event()
    ended = context(progress=lambda event, _: cancel.set() if event == "replicate" else None)
    assert list(measure_group([request("a", digest)], {digest: tmp_path / "b"}, {}, ended, cancel)) == []


def test_what_was_measured_before_it_was_cancelled_is_kept_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first variant is complete, the second one was timed and not more, the third could not be measured."""
    kinds: list[str] = []

    def worker(order: Any, *_: Any, **__: Any) -> Answer:
        kinds.append(order.kind)
        if kinds.count("memory") == 2:
            raise Canceled
        return Answer(Result(outcome="ok", replicate=replicate(100) if order.kind == "measure" else None))

    monkeypatch.setattr(session, "run_worker", worker)
    monkeypatch.setattr(queue, "wait_until_at_rest", lambda *_: (0.0, ()))
    requests = [request("a", "a" * 64), request("b", "b" * 64), request("gone", "c" * 64)]
    bundles = {"a" * 64: tmp_path, "b" * 64: tmp_path}
    records = measured(requests, bundles, {}, keeps_interrupted=True)
    assert {name: record.outcome for name, record in records.items()} == {
        "a": "measured",
        "b": "failed",
        "gone": "failed",
    }
    assert records["b"].error == "trial_interrupted: timed processes so far: 3; measure again"
    assert len(records["b"].replicates) == 3
    assert records["b"].validity is not None
    assert (records["b"].validity.valid, records["b"].validity.reasons) == (False, ("trial_interrupted",))
    assert records["gone"].error.startswith("not_found")
    kinds.clear()
    assert list(measured(requests, bundles, {})) == ["a"]


def replicate(latency_ns: int, *flags: str) -> Replicate:
    samples = Samples.pack([latency_ns] * 9)
    phases = dict.fromkeys(("total_ns", "pre_ns", "infer_ns", "post_ns", "warm_up_ns"), samples)
    return Replicate.model_validate({**phases, "order": 0, "flags": flags})


def record_of(*replicates: Replicate, grade: str = "quick") -> Measured:
    return Measured(request("a", "a" * 64, grade=grade), None, None, list(replicates))


def test_a_void_reason_voids_only_where_most_processes_have_it() -> None:
    fine, bad = replicate(100), replicate(100, "probe_invalid")
    assert REMEDIES["probe_invalid"][1]
    assert [flag.void for flag in flags_of(record_of(fine, fine, bad), preflight=())] == [False]
    assert [flag.void for flag in flags_of(record_of(fine, bad, bad), preflight=())] == [True]


def test_a_replaced_process_stays_in_the_record_and_counts_nowhere() -> None:
    measured = record_of(replicate(900, "probe_invalid"), replicate(100), replicate(101))
    assert not measured.settled()
    measured.replicates.append(measured.replicates.pop(0))
    measured.replace_last()
    assert measured.replicates[-1].flags == ("probe_invalid", "replaced")
    assert process_medians(measured.replicates) == [100, 101]
    assert measured.settled()
    assert [(flag.reason, flag.void) for flag in flags_of(measured, preflight=())] == [("replaced", False)]


def test_a_void_majority_is_one_of_the_processes_that_count() -> None:
    bad = replicate(100, "probe_invalid")
    replaced = replicate(100, "probe_invalid", "replaced")
    fine = replicate(100)
    assert [flag.void for flag in flags_of(record_of(replaced, bad, fine), preflight=())] == [False, False]
    assert [flag.void for flag in flags_of(record_of(replaced, fine, bad, bad), preflight=())] == [True, False]


Scripts = dict[str, list[Replicate]]


def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scripts: Scripts) -> tuple[list[str], dict[str, Any]]:
    """Measure variants whose processes answer by script; return who was started, and the records.

    Once a script is at its end, its last process goes on answering.
    """
    started: list[str] = []

    def worker(order: Any, *_: Any, **__: Any) -> Answer:
        if order.kind != "measure":
            return Answer(Result(outcome="ok"))
        name = order.bundle_dir.name
        script = scripts[name]
        done = started.count(name)
        started.append(name)
        answer = script[min(done, len(script) - 1)].model_copy(update={"order": order.order})
        return Answer(Result(outcome="ok", replicate=answer))

    monkeypatch.setattr(session, "run_worker", worker)
    monkeypatch.setattr(queue, "wait_until_at_rest", lambda *_: (0.0, ()))
    names = list(scripts)
    digests = {name: format(place, "064x") for place, name in enumerate(names)}
    requests = [request(name, digests[name], control=name == names[0]) for name in names]
    records = measured(requests, {digests[name]: tmp_path / name for name in names}, {})
    return started, dict(records)


def test_three_quiet_processes_that_agree_are_enough_for_quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started, records = played(monkeypatch, tmp_path, {"c": [replicate(100)], "v": [replicate(90)]})
    assert started == ["c", "v", "v", "c", "c", "v"]
    assert [len(record.replicates) for record in records.values()] == [3, 3]
    assert [record.flags for record in records.values()] == [(), ()]


@pytest.mark.parametrize("flag", ["disturbed", "probe_slower", "unstable"])
def test_a_disturbed_process_of_quick_is_made_up_for_beside_the_control(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: str
) -> None:
    scripts = {"c": [replicate(100)], "v": [replicate(90, flag), replicate(90)], "quiet": [replicate(80)]}
    started, records = played(monkeypatch, tmp_path, scripts)
    assert started[9:] == ["v", "c"]
    assert {name: len(record.replicates) for name, record in records.items()} == {"c": 4, "v": 4, "quiet": 3}


def test_quick_takes_five_processes_at_most(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wide = [replicate(value) for value in (100, 150, 100, 150, 100)]
    started, records = played(monkeypatch, tmp_path, {"c": [replicate(100)], "v": wide})
    assert started[6:] == ["v", "c", "c", "v"]
    assert [len(record.replicates) for record in records.values()] == [5, 5]
    assert [flag.reason for flag in records["v"].flags] == ["interval_not_reached"]
    assert records["c"].flags == ()


@pytest.mark.parametrize(("run_ns", "processes"), [(50_000_000, 5), (65_000_000, 4), (80_000_000, 3)])
def test_quick_begins_no_further_process_that_might_break_its_six_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_ns: int, processes: int
) -> None:
    """A stand-in process runs 18 times in all, warm-up included."""
    slow = [replicate(run_ns, "disturbed"), replicate(run_ns * 5 // 4, "disturbed")] * 3
    _, records = played(monkeypatch, tmp_path, {"c": slow})
    assert len(records["c"].replicates) == processes


def test_where_the_control_goes_on_all_go_on_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processes of the control alone would be compared with those of another time."""
    wide = [replicate(value) for value in (100, 150, 100, 150, 100)]
    still = [replicate(90)]
    started, records = played(monkeypatch, tmp_path, {"c": wide, "v": still, "w": still})
    assert started[9:] == ["w", "v", "c", "c", "v", "w"]
    assert [len(record.replicates) for record in records.values()] == [5, 5, 5]


def test_a_void_process_is_replaced_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    void = replicate(900, "probe_invalid")
    started, records = played(
        monkeypatch, tmp_path, {"c": [replicate(100), void, replicate(100), void, replicate(100)]}
    )
    flags = [each.flags for each in records["c"].replicates]
    # The second void one is not repeated: it counts, and a fourth and fifth process outvote it.
    assert flags == [(), ("probe_invalid", "replaced"), (), ("probe_invalid",), (), ()]
    assert len(started) == 6
    assert process_medians(records["c"].replicates) == [100, 100, 900, 100, 100]
    verdicts = {flag.reason: flag.void for flag in records["c"].flags}
    assert verdicts == {"interval_not_reached": False, "probe_invalid": False, "replaced": False}


def test_a_wide_interval_and_a_busy_host_are_flagged() -> None:
    wide = record_of(*(replicate(value) for value in (100, 150, 100, 120, 90)), grade="normal")
    assert [flag.reason for flag in flags_of(wide, preflight=("busy_host",))] == ["busy_host", "interval_not_reached"]
    assert process_medians(wide.replicates) == [100, 150, 100, 120, 90]


def test_doubt_repeats_a_process_where_the_grade_says_so() -> None:
    assert record_of(replicate(100, "disturbed"), grade="normal").doubtful()
    assert not record_of(replicate(100, "disturbed"), grade="quick").doubtful()
    assert record_of(replicate(100, "probe_invalid"), grade="quick").doubtful()


def test_the_queue_loads_neither_numpy_nor_an_engine() -> None:
    import subprocess

    heavy = "{'numpy', 'numba', 'onnxruntime', 'ai_edge_litert', 'scipy'}"
    code = f"import sys, agent.measure.queue, agent.bench, agent.serve.orders; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
