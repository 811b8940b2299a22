"""What a trial's record says: medians per process, percentiles with bounds, memory, answers against the labels.

Decides: which samples count (flagged ones do, and are shown; a process that was measured again does not; void records
make the speed unusable), which number a scenario gives, that each process counts alike, and how answers are scored.
Leaves out: comparing variants (`choose`, `compare`).
"""

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.choose.measured import Judgement, Measured, TrialSummary
from controller.choose.speed import median_latency, percentile
from controller.errors import UnusableData
from controller.models.labels.kinds import ModelKind
from wire.errors import MalformedMessage
from wire.trial import Predictions, Replicate, TrialRecord

REPLACED = "replaced"
"""Flag of a replicate that was void or disturbed and was measured again: kept in the record, it counts nowhere."""
MEAN_OF_K = "mean_of_k"
"""Flag of a replicate whose samples are means of several calls: it has no percentiles of single queries."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The evaluation set's labels: class numbers (n,), or values (n,) or (n, width) in the task's unit."""

    kind: ModelKind
    values: NDArray[np.generic]
    digest: str = ""


def summarise(record: TrialRecord, labels: Labels | None, confidence: float = 0.95) -> TrialSummary:
    """Return the summary of one record.

    Args:
        record: As the device sent it.
        labels: Of the evaluation set that the record's predictions name; None where there is none.
        confidence: Of the median's interval (two-sided) and of each percentile bound (one-sided).
    Raises:
        UnusableData: The predictions do not fit the labels.
        MalformedMessage: Samples or predictions cannot be unpacked.
    """
    kept = [each for each in record.replicates if REPLACED not in each.flags]
    replicates = [np.asarray(each.total_ns.unpack(), np.int64) for each in kept]
    replicates = [samples for samples in replicates if len(samples)]
    offline = record.scenario == "offline"
    medians = _query_times(kept) if offline else tuple(float(np.median(samples)) for samples in replicates)
    pooled = _equal_shares(replicates)
    single = not offline and not any(_is_mean(each.flags) for each in kept)
    middle = median_latency(medians, confidence)
    return TrialSummary(
        trial=record.trial,
        device=record.device,
        variant=record.variant,
        bundle=record.bundle,
        control=record.control,
        outcome=record.outcome,
        grade=record.grade,
        because=record.error,
        samples=sum(map(len, replicates)),
        process_medians_ns=medians,
        p50_ns=None if offline else middle,
        p95_ns=percentile(pooled, 0.95, confidence) if single else None,
        p99_ns=percentile(pooled, 0.99, confidence) if single else None,
        peak_memory_bytes=record.memory.peak_bytes if record.memory else None,
        memory_by=record.memory.by if record.memory else None,
        judgement=judge_predictions(record.predictions, labels) if record.predictions and labels else None,
        flags=_flags(record, kept),
        void=_void(record),
        emulated=record.emulated,
        serving_lost_s=record.serving_lost_s,
        scenario=record.scenario,
        settings=record.settings,
        threads=record.threads,
        serving_policy=str(record.conditions.get("serving_policy") or "pause"),
        query_ns=middle if offline else None,
        over_bound_ratio=_over_bound(kept),
        energy_j=record.energy.joules_per_query if record.energy else record.energy_j,
    )


def _query_times(kept: Sequence[Replicate]) -> tuple[float, ...]:
    """Return each process's mean time per query [ns], from the queries that it answered in a second."""
    return tuple(1e9 / each.queries_per_second for each in kept if each.queries_per_second)


def _over_bound(kept: Sequence[Replicate]) -> float | None:
    ratios = [each.over_bound_ratio for each in kept if each.over_bound_ratio is not None]
    return sum(ratios) / len(ratios) if ratios else None


def _equal_shares(replicates: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return as many samples of each process, its last ones: a fast process must not speak louder for the tail."""
    if not replicates:
        return np.empty(0, np.int64)
    share = min(map(len, replicates))
    return np.concatenate([samples[-share:] for samples in replicates])


def measured(summaries: Sequence[TrialSummary], wire_bytes: int, disk_bytes: int) -> Measured:
    """Return the trials of one variant in one class as one; at least one trial.

    Raises:
        ValueError: No trials, or trials of several variants.
    """
    names = {(each.variant, each.bundle) for each in summaries}
    if len(names) != 1:
        raise ValueError(f"trials of one variant are put together, not of {sorted(names) or 'none'}")
    ((variant, bundle),) = names
    return Measured(variant, bundle, wire_bytes, disk_bytes, tuple(summaries))


def judge_predictions(predictions: Predictions, labels: Labels) -> Judgement:
    """Return a device's answers against the labels.

    Raises:
        UnusableData: Another evaluation set, another number of samples, or another kind of answer.
        MalformedMessage: The answers cannot be unpacked.
    """
    expected = len(labels.values)
    if predictions.samples != expected or (labels.digest and predictions.evaluation != labels.digest):
        raise UnusableData(
            f"predictions are for {predictions.samples} samples of {predictions.evaluation[:12]}, the labels are "
            f"{expected} of {labels.digest[:12] or 'an unnamed set'}; measure again"
        )
    if labels.kind == "classification":
        return _classes(predictions, labels.values)
    return _values(predictions, labels.values.astype(np.float64))


def _classes(predictions: Predictions, labels: NDArray[np.generic]) -> Judgement:
    if predictions.classes is None:
        raise UnusableData("a classifier's trial holds no classes; update the agent and measure again")
    answers = np.asarray(predictions.classes.unpack(), np.int64)
    correct = answers == labels.astype(np.int64)
    return Judgement({"accuracy": float(correct.mean())}, correct=correct)


def _values(predictions: Predictions, labels: NDArray[np.float64]) -> Judgement:
    answers = _unpacked(predictions)
    if answers.size != labels.size:
        width = predictions.width or 1
        raise UnusableData(f"the model answers {width} numbers a sample, the labels have shape {labels.shape}")
    answers = answers.reshape(labels.shape)
    errors = answers - labels
    squared = (errors**2).reshape(len(labels), -1).mean(axis=1)
    variance = float(labels.reshape(len(labels), -1).var(axis=0).mean())
    metrics = {"mae": float(np.abs(errors).mean()), "rmse": float(np.sqrt(squared.mean()))}
    if variance > 0:
        metrics["r2"] = 1 - float(squared.mean()) / variance
    return Judgement(metrics, squared_errors=squared, variance=variance)


def _unpacked(predictions: Predictions) -> NDArray[np.float64]:
    wanted = 4 * predictions.samples * (predictions.width or 1)
    if predictions.values is None:
        raise UnusableData("a regression's trial holds no values; update the agent and measure again")
    try:
        packed = base64.b64decode(predictions.values, validate=True)
        raw = zlib.decompressobj().decompress(packed, wanted + 1)
    except (zlib.error, binascii.Error, ValueError) as exc:
        raise MalformedMessage(f"predictions cannot be unpacked: {exc}") from exc
    if len(raw) != wanted:
        raise MalformedMessage(f"predictions hold {len(raw)} bytes or more, {wanted} were announced")
    return np.frombuffer(raw, "<f4").astype(np.float64)


def _is_mean(flags: Sequence[str]) -> bool:
    return any(flag.startswith(MEAN_OF_K) for flag in flags)


def _flags(record: TrialRecord, kept: Sequence[Replicate]) -> tuple[str, ...]:
    """Return the reasons to doubt the numbers; of a process that was measured again, only that it was."""
    again = [REPLACED] if len(kept) < len(record.replicates) else []
    found = [flag.reason for flag in record.flags] + [flag for each in kept for flag in each.flags] + again
    return tuple(dict.fromkeys(found))


def _void(record: TrialRecord) -> tuple[str, ...]:
    reasons = [f"{flag.reason} ({flag.remedy})" if flag.remedy else flag.reason for flag in record.flags if flag.void]
    golden = record.golden is not None and not record.golden.passed
    return (*reasons, "golden outputs differ") if golden else tuple(reasons)
