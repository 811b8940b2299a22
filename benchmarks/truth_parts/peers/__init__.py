"""The product against independent measurements of the same model: medians of fresh processes, interleaved."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.common import Claim, at_most, not_measured
from benchmarks.truth_parts.bundles import write_leaf
from benchmarks.truth_parts.peers.tools import LITERT_TOOL, NoTool, OrtLoop, litert_tool_ns, plain_loop_ns
from benchmarks.truth_parts.product import Product, infer_ns, interleaved

LEAST_NS = 10_000
MOST_RATIO = 0.01
MOST_TOOL_PERCENT = 2.0

Rounds = Sequence[tuple[float, float]]
"""(product, peer) of each round [ns]."""


def peer_claims(product: Product, folder: Path, rounds: int) -> list[Claim]:
    """Return the claims on a plain loop, ONNX Runtime's C API, and LiteRT's own tool."""
    onnx, lite = (write_leaf(folder / f"leaf-{engine}", engine) for engine in ("onnxruntime", "litert"))
    found = _rounds(product, onnx, lambda: plain_loop_ns(onnx), rounds)
    claims = [plain_claim(found)]
    name = "ONNX Runtime, loop over its C API, difference"
    try:
        loop = OrtLoop(folder)
        said = (
            "compiled C, one thread, for want of ONNX Runtime's own perf test, which is in no package; the library is "
            "another build of the release than the one that is linked into the Python package"
        )
        claims.append(tool_claim(name, _rounds(product, onnx, lambda: loop.median_ns(onnx), rounds), said))
    except NoTool as exc:
        claims.append(not_measured(name, "%", f"<= {MOST_TOOL_PERCENT:g}", str(exc)))
    return [*claims, _litert(product, lite, folder, rounds)]


def _litert(product: Product, bundle: Path, folder: Path, rounds: int) -> Claim:
    name = "LiteRT, its own benchmark tool, difference"
    try:
        expected_ns = infer_ns(product.once(bundle))
        found = _rounds(product, bundle, lambda: litert_tool_ns(bundle, folder, expected_ns), rounds)
    except NoTool as exc:
        return not_measured(name, "%", f"<= {MOST_TOOL_PERCENT:g}", str(exc))
    return tool_claim(name, found, f"{LITERT_TOOL}, one thread; it rounds to 0.01 ms, and copies no tensors")


def _rounds(product: Product, bundle: Path, peer: Callable[[], float], rounds: int) -> Rounds:
    return interleaved(lambda: infer_ns(product.once(bundle)), peer, rounds)


def plain_claim(rounds: Rounds) -> Claim:
    """Return the claim on the product's inference time against a plain loop's: within max(1 %, 10 us)."""
    ours, theirs = medians(rounds)
    limit_us = max(MOST_RATIO * theirs, LEAST_NS) / 1e3
    how = f"leaf_outline, {_text(rounds)}; the limit is the larger of 1 % and 10 us"
    return at_most("plain loop around session.run, difference", abs(ours - theirs) / 1e3, round(limit_us, 3), "us", how)


def tool_claim(name: str, rounds: Rounds, said: str) -> Claim:
    """Return the claim on the product's inference time against a tool's: within 2 %."""
    ours, theirs = medians(rounds)
    how = f"leaf_outline, {_text(rounds)}; {said}"
    return at_most(name, 100 * abs(ours / theirs - 1), MOST_TOOL_PERCENT, "%", how)


def medians(rounds: Rounds) -> tuple[float, float]:
    """Return the median over the processes of either side."""
    ours, theirs = zip(*rounds, strict=True)
    return statistics.median(ours), statistics.median(theirs)


def _text(rounds: Rounds) -> str:
    ours, theirs = medians(rounds)
    spreads = [100 * (max(side) / min(side) - 1) for side in zip(*rounds, strict=True)]
    return (
        f"product {ours / 1e6:.4f} ms, the other {theirs / 1e6:.4f} ms ({100 * (ours / theirs - 1):+.2f} %): medians "
        f"of {len(rounds)} processes a side, interleaved, which spread by {spreads[0]:.1f} and {spreads[1]:.1f} %"
    )
