"""`agent bench` on a folder: what people see, and what they are not shown."""

from pathlib import Path

import pytest

from agent.bench import BenchOptions, bench, table
from agent.errors import NotFound
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from wire.trial import Flag, MemoryUse, Replicate, Samples, TrialRecord


def test_a_bundle_is_measured_and_shown(tmp_path: Path) -> None:
    ensure_warm()
    kit.write_bundle(tmp_path / "b")
    record = bench(tmp_path / "b", BenchOptions(grade="quick"))
    assert record.outcome == "measured"
    shown = table(record)
    for text in ("onnx-float (onnxruntime", "p50", "process medians", "kernels: library", "passed, 10 samples"):
        assert text in shown
    assert "p95" not in shown  # calls of microseconds are timed several at a time: tails are not known
    assert "flag mean_of_k" in shown


def test_a_folder_without_bundle_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        bench(tmp_path, BenchOptions())


def record_with(samples: list[int]) -> TrialRecord:
    packed = Samples.pack(samples)
    parts = dict.fromkeys(("total_ns", "pre_ns", "infer_ns", "post_ns", "warm_up_ns"), packed)
    replicate = Replicate.model_validate({**parts, "order": 0, "conditions": {"calls_per_sample": 1}})
    return TrialRecord(
        fleet="f",
        device="d",
        trial="t",
        plan_gen=0,
        workload="main",
        bundle="a" * 64,
        variant="v",
        engine="onnxruntime",
        outcome="measured",
        replicates=(replicate,),
        memory=MemoryUse(baseline_bytes=2**20, loaded_bytes=2**21, peak_bytes=2**22, by="vm_hwm"),
        flags=(Flag(reason="probe_invalid", remedy="cool the device", void=True),),
    )


def test_percentiles_are_given_only_where_the_samples_allow() -> None:
    shown = table(record_with([2_000_000] * 58))
    assert "needs 59 samples" in shown
    assert "needs 299 samples" in shown
    assert "2.0000 ms" in table(record_with([2_000_000] * 400)).split("p99", 1)[1]


def test_flags_stand_with_their_remedy() -> None:
    shown = table(record_with([1] * 9))
    assert "flag probe_invalid" in shown
    assert "cool the device (voids the speed)" in shown
    assert "peak 4.0 MiB" in shown
