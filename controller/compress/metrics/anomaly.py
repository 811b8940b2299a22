"""Anomaly: how well scores tell the strange from the normal, and what a threshold makes of it.

A threshold of the float model means something else once scores are quantised. So each variant gets its own: the one at
which the same share of *its* scores of the normal calibration samples raise an alarm. Evaluation samples set nothing.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from controller.choose.intervals.auroc import auroc, auroc_interval
from controller.choose.intervals.evidence import Scores
from controller.choose.intervals.proportion import CONFIDENCE, wilson
from controller.compress.metrics.worth import Asked, Outputs, Worth, between, in_units, ratio
from controller.models.labels.arrays import are_known
from controller.models.preprocess import prepare
from controller.models.samples import LabelledData
from wire.spec import Pipeline, RegressionPost, TextPre

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def judge_anomaly(asked: Asked) -> Worth:
    """Judge scores: the model's one number a sample, or how far it is from giving back what went in.

    Raises:
        ValueError: Outputs that are neither, or no normal calibration sample.
    """
    samples = asked.samples
    scores, anomalous = anomaly_scores(asked.outputs, samples, asked.pipeline), samples.labels.astype(np.bool_)
    metrics = {"auroc": auroc(scores, anomalous), **between("auroc", auroc_interval(scores, anomalous, CONFIDENCE))}
    evidence = Scores(scores, anomalous)
    if samples.calibration is None or asked.calibration is None:
        return Worth(metrics, evidence, notes=("no threshold: there are no calibration samples",))
    known = anomaly_scores(asked.calibration, samples.calibration, asked.pipeline)
    normal = known[~_anomalous(samples.calibration)]
    allowed = samples.judging.false_alarm_ratio
    threshold = threshold_at(normal, allowed)
    alarms = scores > threshold
    few = int(allowed * len(normal)) < 1
    note = f"threshold: {len(normal)} normal calibration samples hold no {allowed:.0%}; it is their largest score"
    return Worth(
        {**metrics, "threshold": threshold, **_at_threshold(alarms, anomalous)},
        evidence,
        (_sort(alarms, ~anomalous, right=False), _sort(alarms, anomalous, right=True)),
        notes=(note,) if few else (),
    )


def anomaly_scores(outputs: Outputs, samples: LabelledData, pipeline: Pipeline) -> Floats:
    """Return a score of each sample, higher is stranger, shape (n,).

    One number a sample is the score, in the units of `post`. Outputs of the input's own shape are a reconstruction: the
    score is the mean square of what it misses of the prepared input.

    Raises:
        ValueError: Neither; both shapes are named.
    """
    if outputs[0].size == 1:
        return in_units(outputs, cast(RegressionPost, pipeline.post))[:, 0].astype(np.float64)
    if isinstance(pipeline.pre, TextPre):
        raise ValueError(f"outputs have shape {outputs.shape}: of text, one score a sample is needed")
    given = prepare(pipeline.pre, samples.inputs)
    if given.shape != outputs.shape:
        raise ValueError(
            f"outputs have shape {outputs.shape}: one score a sample is needed, or the input's shape {given.shape} "
            f"where the model gives back what went in"
        )
    missed = np.square(outputs.astype(np.float64) - given).reshape(len(given), -1)
    return np.asarray(missed.mean(axis=1), dtype=np.float64)


def threshold_at(normal: Floats, false_alarm_ratio: float) -> float:
    """Return the least score of a normal sample above which at most this share of them lie.

    Args:
        normal: Scores of normal samples, shape (n,).
        false_alarm_ratio: In (0, 1).
    Raises:
        ValueError: No sample.
    """
    if len(normal) == 0:
        raise ValueError("no normal calibration sample: the threshold of an alarm is set on normal ones")
    allowed = int(false_alarm_ratio * len(normal) + 1e-9)
    return float(np.sort(normal)[len(normal) - 1 - allowed])


def _anomalous(samples: LabelledData) -> Bools:
    """Return which calibration samples are anomalous; none, where nothing is known of them."""
    known = are_known(samples.kind, samples.labels)
    return samples.labels.astype(np.bool_) if known else np.zeros(len(samples), np.bool_)


def _at_threshold(alarms: Bools, anomalous: Bools) -> dict[str, float]:
    found, false = int((alarms & anomalous).sum()), int((alarms & ~anomalous).sum())
    right = int((alarms == anomalous).sum())
    true = int(anomalous.sum())
    return {
        "accuracy": right / len(alarms),
        **between("accuracy", wilson(right, len(alarms))),
        "precision": ratio(found, found + false),
        "recall": ratio(found, true),
        "f1": ratio(2 * found, found + false + true),
        "false_alarm_ratio": ratio(false, len(alarms) - true),
    }


def _sort(alarms: Bools, which: Bools, *, right: bool) -> dict[str, float]:
    """Return the samples of one sort and how many of them were called so."""
    count, hits = int(which.sum()), int((alarms[which] == right).sum())
    return {"recall": ratio(hits, count), **between("recall", wilson(hits, count)), "samples": count, "right": hits}
