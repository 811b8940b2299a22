"""Known quantities: a busy time by another clock, and an allocation of a known size."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import Claim, at_most
from benchmarks.truth_parts.bundles import write_engine
from benchmarks.truth_parts.engines import MIB
from benchmarks.truth_parts.product import Product, infer_ns

BUSY_MS = (1, 5, 20)
MOST_ERROR_PERCENT = 1.0
ALLOCATED_MIB = 64
MOST_ERROR_MIB = 1.0


def busy_claims(product: Product, folder: Path) -> list[Claim]:
    """Return a claim for each known busy time."""
    claims = []
    for busy_ms in BUSY_MS:
        bundle = write_engine(folder / f"busy{busy_ms}", "busy", busy_ns=busy_ms * 1_000_000)
        (one,), _ = product.together(bundle, replicates=3)
        totals = [statistics.median(each.total_ns.unpack()) for each in one.replicates]
        claims.append(busy_claim(busy_ms, [infer_ns(each) for each in one.replicates], totals))
    return claims


def busy_claim(busy_ms: int, infers_ns: Sequence[float], totals_ns: Sequence[float]) -> Claim:
    """Return the claim on one busy time: of all processes the median that is furthest off counts."""
    known_ns = busy_ms * 1e6
    worst = max(infers_ns, key=lambda median: abs(median - known_ns))
    whole_ms = statistics.median(totals_ns) / 1e6
    how = (
        f"busy until CLOCK_MONOTONIC_RAW has gone on by {busy_ms} ms; of {len(infers_ns)} processes the median "
        f"inference that is furthest off: {worst / 1e6:.4f} ms; with pre and post {whole_ms:.4f} ms"
    )
    error = 100 * abs(worst / known_ns - 1)
    return at_most(f"busy for {busy_ms} ms, error", error, MOST_ERROR_PERCENT, "%", how)


def allocation_claim(product: Product, folder: Path) -> Claim:
    """Return the claim on a known allocation: peaks of two memory runs, with it and without, apart by its size."""
    peaks = {}
    for mebibytes in (0, ALLOCATED_MIB):
        bundle = write_engine(folder / f"allocating{mebibytes}", "allocating", mebibytes=mebibytes)
        peaks[mebibytes] = product.memory(bundle)
    found = peaks[ALLOCATED_MIB].peak_bytes - peaks[0].peak_bytes
    return found_claim(found / MIB, peaks[0].by)


def found_claim(found_mib: float, by: str) -> Claim:
    """Return the claim on how far off the known allocation was found."""
    how = (
        f"{ALLOCATED_MIB} MiB taken and given back in each inference: the memory run's peak by {by} is "
        f"{found_mib:.2f} MiB above that of a run without"
    )
    name = f"allocation of {ALLOCATED_MIB} MiB, error"
    return at_most(name, abs(found_mib - ALLOCATED_MIB), MOST_ERROR_MIB, "MiB", how)
