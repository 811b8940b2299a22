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
from controller.choose.intervals.evidence import Evidence
from controller.compress import metrics
from controller.compress.cache import PassCache, cache_key
from controller.compress.fusion import FusionAudit, Inspection
from controller.compress.metrics.worth import Asked, Worth, in_units
from controller.compress.process.host import Host, on_host
from controller.compress.process.run import EvaluationContext, modules_digest, run_variant
from controller.compress.process.start import PassFailed, run_step
from controller.compress.variant import Variant
from controller.convert.digest import model_digest
from controller.errors import UnusableModel
from controller.models.samples import LabelledData

__all__ = ["EvaluationContext", "OfflineResult", "evaluate", "in_units"]

Outputs = NDArray[np.float32]


@dataclass(frozen=True)
class OfflineResult:
    """What a variant is worth before any device has seen it.

    score_name: the metric that limits speak of. evidence: what a paired comparison with the baseline takes
    (`controller/choose/intervals/loss`). correct: per sample, classification only. outputs_path: raw outputs,
    evaluation samples first. values: predictions in the label's unit, shape (n, k), regression only. sqnr_db: against
    the baseline's outputs; None for the baseline and where nothing differs. wire_bytes: of the model file alone, as
    chunks. disk_bytes: of the model file.
    """

    variant: str
    samples: int
    score_name: str
    metrics: Mapping[str, float]
    per_class: tuple[Mapping[str, float], ...]
    evidence: Evidence
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
        """The metric that limits speak of: accuracy, R², or what `score_name` says."""
        return self.metrics[self.score_name]

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
    worth = _judged(variant, outputs, samples, baseline_outputs, context)
    sqnr_db, agreement_ratio = _compared(baseline_outputs, outputs, samples)
    return OfflineResult(
        variant=variant.name,
        samples=len(samples),
        score_name=metrics.score_name(samples.kind),
        metrics=worth.metrics,
        per_class=worth.per_class,
        evidence=worth.evidence,
        correct=worth.correct,
        values=worth.values,
        outputs_path=outputs_path,
        golden_outputs=golden_outputs,
        sqnr_db=sqnr_db,
        agreement_ratio=agreement_ratio,
        parameters=inspection.parameters,
        macs=inspection.macs,
        disk_bytes=variant.disk_bytes,
        wire_bytes=wire_size(variant.model_file.name, variant.model_file.read_bytes()),
        fusion=inspection.fusion,
        notes=(*variant.notes, *host.notes, *inspection.uncounted, *worth.notes),
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
    variant: Variant, outputs: Outputs, samples: LabelledData, baseline: Outputs | None, context: EvaluationContext
) -> Worth:
    """Judge the outputs by the metric of the model's kind.

    Raises:
        UnusableModel: They do not fit the kind or the labels.
    """
    calibration = None
    if samples.calibration is not None:
        calibration = np.load(run_variant(variant, samples.calibration.inputs, context), allow_pickle=False)
    asked = Asked(outputs, samples, variant.pipeline, baseline, calibration, variant.model_root)
    try:
        return metrics.judge(asked)
    except ValueError as exc:
        raise UnusableModel(f"{variant.name}: {exc}") from exc


def _check_outputs(variant: Variant, outputs: Outputs, samples: LabelledData) -> None:
    """Refuse outputs that cannot be compared with the labels."""
    if len(outputs) != len(samples):
        raise UnusableModel(f"{variant.name}: {len(outputs)} outputs for {len(samples)} samples")
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
