"""How numbers stand in reasons. Pure."""

from collections.abc import Mapping

from controller.choose.goals import Criterion
from controller.choose.paired import LossBound

NAMES: Mapping[Criterion, str] = {
    "p50_ms": "p50",
    "p95_ms": "p95",
    "query_ms": "time per query",
    "wire_bytes": "download",
    "disk_bytes": "on disk",
    "peak_memory_bytes": "peak memory",
}
"""Criterion -> how it is called in a reason; its value stands with its unit behind."""


def ms_text(ns: float) -> str:
    """Return a latency [ns] in milliseconds, three digits."""
    return f"{ns / 1e6:.3g} ms" if ns < 1e9 else f"{ns / 1e6:.0f} ms"


def bytes_text(count: float) -> str:
    """Return a size [bytes] in kB or MB (powers of ten)."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def loss_text(loss: LossBound, unit: str) -> str:
    """Return a loss with its bound; `unit` is `points` (of accuracy) or `R2`.

    A difference that is smaller than what the samples could show is not claimed to be one.
    """
    verb, most = ("gained", "lost at most") if loss.lost < 0 else ("lost", "at most")
    if unit != "points":
        return f"{verb} {abs(loss.lost):.4f} of R2, {most} {loss.upper:.4f} at {loss.confidence:.0%}"
    text = f"{verb} {100 * abs(loss.lost):.2f} points, {most} {100 * loss.upper:.2f} at {loss.confidence:.0%}"
    if loss.smallest is None or abs(loss.lost) >= loss.smallest:
        return text
    return f"{text} (no difference shown: that takes {100 * loss.smallest:.2f} with these samples)"
