"""Do a device's outputs agree with the ones that the bundle brings?

Decides: the rule of `wire.manifest.GoldenSpec`. Pure.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wire.manifest import GoldenSpec
from wire.spec import Kind
from wire.trial import Golden

DENSE: tuple[Kind, ...] = ("detection", "segmentation")
"""Kinds with thousands of outputs for a query, of which no single one is the answer."""


def judge_golden(expected: NDArray[Any], given: NDArray[Any], rule: GoldenSpec, kind: Kind) -> Golden:
    """Compare the outputs of this device with the expected ones.

    Passes when every output lies within `absolute + relative * |expected|`, or when the signal-to-noise ratio is high
    enough: for detection and segmentation that alone, for classification with enough arg max that agree, for regression
    never. An output that is not finite passes only where the same one is expected.

    Args:
        expected: Raw outputs, shape (samples, …).
        given: Raw outputs of this device, same shape.
        rule: Tolerances.
        kind: What the bundle does.
    """
    samples = len(expected)
    if expected.shape != given.shape:
        text = f"expected outputs of shape {expected.shape}, this device gave {given.shape}"
        return Golden(passed=False, samples=samples, detail=text)
    wanted, found = expected.astype(np.float64), given.astype(np.float64)
    close = bool(np.allclose(found, wanted, rtol=rule.relative, atol=rule.absolute, equal_nan=True))
    finite = bool(np.isfinite(found).all() and np.isfinite(wanted).all())
    difference = float(np.abs(found - wanted).max(initial=0.0)) if finite else None
    agreement = _agreement_ratio(wanted, found) if kind == "classification" else None
    sqnr_db = signal_to_noise_db(wanted, found) if finite else float("-inf")
    agreeing = kind in DENSE if agreement is None else agreement >= rule.top1_agreement_ratio
    alike = agreeing and sqnr_db >= rule.sqnr_db
    return Golden(
        passed=close or alike,
        samples=samples,
        max_abs_difference=difference,
        top1_agreement_ratio=agreement,
        detail=_detail(close, finite, sqnr_db, agreement),
    )


def signal_to_noise_db(expected: NDArray[np.float64], given: NDArray[np.float64]) -> float:
    """Return 10 log10(sum expected² / sum (given - expected)²) [dB]; infinite where nothing differs."""
    noise = float(np.square(given - expected).sum())
    signal = float(np.square(expected).sum())
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(signal / noise)) if signal > 0 else float("-inf")


def _agreement_ratio(expected: NDArray[np.float64], given: NDArray[np.float64]) -> float:
    flat, other = expected.reshape(len(expected), -1), given.reshape(len(given), -1)
    return float((flat.argmax(axis=1) == other.argmax(axis=1)).mean())


def _detail(close: bool, finite: bool, sqnr_db: float, agreement: float | None) -> str:
    if close:
        return "every output within its tolerance"
    if not finite:
        return "some outputs are not finite"
    top1 = "" if agreement is None else f", top-1 agreement {agreement:.3f}"
    return f"outputs differ: signal to noise {sqnr_db:.1f} dB{top1}"
