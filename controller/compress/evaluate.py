"""Judge a variant off the device: the agent's own worker runs it over the evaluation set, here.

Decides: what an offline result holds and when a kept one counts. Leaves out: speed and memory, which only devices
measure. The worker is a child process; what it computes is what devices compute, up to the processor. Where this
machine lacks the variant's engine or hardware, `process/host.py` says what stands for it; the result's notes have it.

    result = evaluate(variant, samples, None, EvaluationContext(cache, golden))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.bundle.chunk import wire_size
from controller.compress import metrics
from controller.compress.cache import PassCache, cache_key
from controller.compress.fusion import FusionAudit, Inspection
from controller.compress.process.host import Host, on_host
from controller.compress.process.run import EvaluationContext, modules_digest, run_variant
from controller.compress.process.start import PassFailed, run_step
from controller.compress.variant import Variant
from controller.convert.digest import model_digest
from controller.errors import UnusableModel
from controller.models.samples import LabelledData
from wire.spec import ClassificationPost, RegressionPost

__all__ = ["EvaluationContext", "OfflineResult", "evaluate", "in_units"]

Outputs = NDArray[np.float32]


@dataclass(frozen=True)
class OfflineResult:
    """What a variant is worth before any device has seen it.

    correct: per sample, classification only. outputs_path: raw outputs, evaluation samples first. values: predictions
    in the label's unit, shape (n, k), regression only. sqnr_db: against the baseline's outputs; None for the baseline
    and where nothing differs. wire_bytes: of the model file alone, as chunks. disk_bytes: of the model file.
    """

    variant: str
    samples: int
    metrics: Mapping[str, float]
    per_class: tuple[Mapping[str, float], ...]
    correct: NDArray[np.bool_] | None
    values: Outputs | None
    outputs_path: Path
    golden_outputs: Outputs
    sqnr_db: float | None
    agreement_ratio: float | None
    parameters: int
    macs: int
    disk_bytes: int
    wire_bytes: int
    fusion: FusionAudit | None
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """The metric that limits speak of: accuracy, or R²."""
        return self.metrics["accuracy"] if "accuracy" in self.metrics else self.metrics["r2"]

    def outputs(self) -> Outputs:
        """Return the raw outputs over the evaluation set, float32, shape (n, k)."""
        every: Outputs = np.load(self.outputs_path, allow_pickle=False)
        return every[: self.samples]


def evaluate(
    variant: Variant, samples: LabelledData, baseline_outputs: Outputs | None, context: EvaluationContext
) -> OfflineResult:
    """Run a variant over the evaluation set and judge its outputs.

    Args:
        variant: To be judged.
        samples: Checked already (`check_samples`).
        baseline_outputs: Raw outputs of the baseline over the same samples; None when this is the baseline.
        context: Cache and golden inputs.
    Raises:
        UnusableModel: The worker or the engine refuses the variant, crashes, or its outputs do not fit the labels.
    """
    host = on_host(variant)
    outputs_path, outputs, golden_outputs = _both_outputs(variant, samples, context)
    _check_outputs(variant, outputs, samples)
    inspection = _inspected(variant, host, context.cache)
    scores, per_class, correct, values = _judged(variant, outputs, samples)
    sqnr_db, agreement_ratio = _compared(baseline_outputs, outputs, samples)
    return OfflineResult(
        variant=variant.name,
        samples=len(samples),
        metrics=scores,
        per_class=tuple(per_class),
        correct=correct,
        values=values,
        outputs_path=outputs_path,
        golden_outputs=golden_outputs,
        sqnr_db=sqnr_db,
        agreement_ratio=agreement_ratio,
        parameters=inspection.parameters,
        macs=inspection.macs,
        disk_bytes=variant.disk_bytes,
        wire_bytes=wire_size(variant.model_file.read_bytes()),
        fusion=inspection.fusion,
        notes=(*variant.notes, *host.notes, *inspection.uncounted),
    )


def _compared(baseline: Outputs | None, outputs: Outputs, samples: LabelledData) -> tuple[float | None, float | None]:
    """Return signal to noise [dB] and top-1 agreement with the baseline, as far as they mean something."""
    if baseline is None:
        return None, None
    agreement = metrics.top1_agreement_ratio(baseline, outputs) if samples.kind == "classification" else None
    return metrics.sqnr_db(baseline, outputs), agreement


def _both_outputs(variant: Variant, samples: LabelledData, context: EvaluationContext) -> tuple[Path, Outputs, Outputs]:
    """Run evaluation set and golden inputs; in one process where their shapes agree, since its start costs most."""
    if samples.inputs.shape[1:] != context.golden_inputs.shape[1:]:
        path = run_variant(variant, samples.inputs, context)
        golden: Outputs = np.load(run_variant(variant, context.golden_inputs, context), allow_pickle=False)
        return path, np.load(path, allow_pickle=False), golden
    path = run_variant(variant, np.concatenate([samples.inputs, context.golden_inputs]), context)
    every: Outputs = np.load(path, allow_pickle=False)
    return path, every[: len(samples)], every[len(samples) :]


def _judged(
    variant: Variant, outputs: Outputs, samples: LabelledData
) -> tuple[dict[str, float], list[dict[str, float]], NDArray[np.bool_] | None, Outputs | None]:
    post = variant.pipeline.post
    if isinstance(post, ClassificationPost):
        predicted = outputs.argmax(axis=1)
        scores = metrics.classification_metrics(predicted, samples.labels, outputs.shape[1])
        per_class = metrics.per_class_metrics(predicted, samples.labels, outputs.shape[1])
        return scores, per_class, predicted == samples.labels, None
    if not isinstance(post, RegressionPost):
        raise UnusableModel(f"a {post.kind} model has no metric that variants are chosen by")
    values = in_units(outputs, post)
    return metrics.regression_metrics(values, samples.labels), [], None, values


def in_units(outputs: Outputs, post: RegressionPost) -> Outputs:
    """Return regression outputs in the label's units, shape (n, k)."""
    scale, offset = np.asarray(post.scale), np.asarray(post.offset)
    return np.asarray(outputs.reshape(len(outputs), -1) * scale + offset, dtype=np.float32)


def _check_outputs(variant: Variant, outputs: Outputs, samples: LabelledData) -> None:
    """Refuse outputs that cannot be compared with the labels."""
    if len(outputs) != len(samples):
        raise UnusableModel(f"{variant.name}: {len(outputs)} outputs for {len(samples)} samples")
    if samples.kind == "classification" and outputs.ndim != 2:
        raise UnusableModel(
            f"{variant.name}: classification needs outputs (n, classes), the model gives {outputs.shape}"
        )
    if samples.kind == "regression" and outputs.reshape(len(outputs), -1).shape != samples.labels.shape:
        raise UnusableModel(f"{variant.name}: outputs {outputs.shape} do not fit labels {samples.labels.shape}")
    if not np.isfinite(outputs).all():
        raise UnusableModel(f"{variant.name}: an output is NaN or infinite")


def _inspected(variant: Variant, host: Host, cache: PassCache) -> Inspection:
    """Return counts and fusion audit, from a process of its own, kept by content."""
    parts = {
        "what": "inspection",
        "model": model_digest(variant.format, variant.model_file),
        "engine": [host.engine, host.version],
        "source": modules_digest("controller.compress.fusion", "controller.models.graph", "controller.convert.tflite"),
    }
    order = {"do": "inspect", "format": variant.format, "path": str(variant.model_file)}
    try:
        entry = cache.get_or_make(cache_key(parts), lambda folder: run_step(order, folder, "inspect"))
    except PassFailed as exc:
        raise UnusableModel(f"{variant.name}: {exc.because}") from exc
    return Inspection.from_facts(dict(entry.facts))
