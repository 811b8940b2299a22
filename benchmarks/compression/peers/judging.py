"""A toolkit's file judged as every variant is: by the agent's worker, on the evaluation samples; and timed in turns.

Decides: that all files of a model are timed in the same processes, block by block beside fp32, and what stands for the
few samples that a pick is made on. Leaves out: making the files.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compression.peers.rows import BASELINE, Row
from benchmarks.compression.peers.subjects import is_labelled
from controller.bundle.chunk import wire_size
from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext, OfflineResult, evaluate
from controller.compress.search.timing.clock import HostClock, Laps
from controller.compress.variant import ENGINE_OF, Variant, baseline_variant
from controller.convert.operators import file_precision
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import (
    LabelledData,
    calibration_samples,
    evaluation_samples,
    golden_inputs,
    stratified_rows,
    training_samples,
)
from wire.canonical import sha256_hex

PROCESSES = 3
SEEN_SAMPLES, SEEN_UNLABELLED = 2000, 60
"""Of the training part, that a pick is made on; a large network without labels answers fewer."""

SURE = 0.5


@dataclass(frozen=True)
class Judged:
    """On the evaluation samples, and on samples of the training part."""

    result: OfflineResult
    seen: OfflineResult


class Judge:
    """One model, its samples and its fp32 baseline."""

    def __init__(self, model: ModelFolder, state: Path) -> None:
        datasets = state / "datasets"
        golden = golden_inputs(model, datasets)
        self.model, self.context = model, EvaluationContext(PassCache(state / "cache"), golden)
        self.queries: NDArray[Any] = calibration_samples(model, datasets)
        self.samples, self._seen = evaluation_samples(model, datasets), _few(model, training_samples(model, datasets))
        self._clock = HostClock(state / "clock.lock", golden)
        self.baseline = baseline_variant(model)
        self.judged = self._judged(self.baseline, None)

    def baseline_row(self) -> Row:
        """Return fp32's own row."""
        return self._filled(Row(self.model.name, BASELINE, "as it is"), self.judged)

    def row(self, row: Row, path: Path) -> Row:
        """Return a row with everything but times; with the reason where the file does not run."""
        try:
            variant = self.variant(row, path)
            return self._filled(row, self._judged(variant, self.judged))
        except UnusableModel as exc:
            return replace(row, because=str(exc))

    def variant(self, row: Row, path: Path) -> Variant:
        """Return a toolkit's file as a variant of the model.

        Raises:
            UnusableModel: Its inputs and outputs are not the model's.
        """
        source, entry = self.model.file(row.form), self.model.entry(row.form)
        return replace(
            self.baseline,
            name=row.name,
            format=row.form,
            engine=ENGINE_OF[row.form],
            model_file=path,
            pipeline=self.model.pipeline_of(row.form, entry, path, source),
            precision=file_precision(row.form, path),
        )

    def times(self, variants: Sequence[Variant]) -> list[dict[str, Any]]:
        """Return the times of the baseline and of variants, all in the same processes; why one was not timed."""
        every = [self.baseline, *variants]
        try:
            return [_times(laps) for laps in self._clock.sitting(every, PROCESSES)]
        except UnusableModel:  # one of them: each alone says which
            return [self._alone(each) for each in every]

    def _alone(self, variant: Variant) -> dict[str, Any]:
        try:
            return _times(self._clock.sitting([self.baseline, variant], PROCESSES)[1])
        except UnusableModel as exc:
            return {"untimed": f"not timed: {exc}"}

    def _judged(self, variant: Variant, beside: Judged | None) -> Judged:
        result = evaluate(variant, self.samples, beside.result.outputs() if beside else None, self.context)
        seen = evaluate(variant, self._seen, beside.seen.outputs() if beside else None, self.context)
        return Judged(result, seen)

    def _filled(self, row: Row, judged: Judged) -> Row:
        result, labelled = judged.result, is_labelled(self.model.name)
        sure = None if labelled else self._sure()
        right = result.correct
        return replace(
            row,
            labelled=labelled,
            score=result.accuracy,
            right=None if right is None else int(right.sum()),
            samples=result.samples,
            seen_score=judged.seen.accuracy,
            sure=None if sure is None or right is None else int(right[sure].sum()),
            sure_samples=None if sure is None else int(sure.sum()),
            sqnr_db=result.sqnr_db,
        )

    def sized(self, row: Row, path: Path) -> Row:
        """Return a row with its file's sizes: what the wire takes is a question of today's transport."""
        content, baseline = path.read_bytes(), self.baseline.model_file
        wire_bytes = wire_size(path.name, content)
        return replace(
            row,
            disk_bytes=len(content),
            gzip_bytes=len(gzip.compress(content, mtime=0)),
            wire_bytes=wire_bytes,
            wire_ratio=wire_bytes / wire_size(baseline.name, baseline.read_bytes()),
            sha256=sha256_hex(content),
        )

    def _sure(self) -> NDArray[np.bool_]:
        """Return which evaluation samples the baseline gives a class half of all probability or more."""
        logits = self.judged.result.outputs().astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        sure: NDArray[np.bool_] = shares.max(axis=1) / shares.sum(axis=1) >= SURE
        return sure


def _few(model: ModelFolder, samples: LabelledData) -> LabelledData:
    count = SEEN_SAMPLES if is_labelled(model.name) else SEEN_UNLABELLED
    rows = stratified_rows(samples.labels, samples.kind, count)
    return replace(samples, inputs=samples.inputs[rows], labels=samples.labels[rows], digest=f"{samples.digest} few")


def _times(laps: Laps) -> dict[str, Any]:
    return {
        "p50_ms": laps.median_ns / 1e6,
        "time_ratio": laps.ratio,
        "time_low": min(laps.ratios),
        "time_high": max(laps.ratios),
        "untimed": "",
    }
