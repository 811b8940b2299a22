"""The product against independent measurements of the same model, in turns: whatever wanders on the host meets both."""

import contextlib
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.measure.lock_step.ratios import block_medians
from agent.measure.scenarios.turns import BLOCK_S
from benchmarks.common import Claim, at_most, not_measured
from benchmarks.truth_parts.bundles import write_leaf
from benchmarks.truth_parts.peers.tools import LITERT_TOOL, OrtLoop, litert_tool, plain_loop
from benchmarks.truth_parts.peers.turns import STOPPED_TURN_S, NoTool, Stopped, Talking
from benchmarks.truth_parts.product import Product, infer_ns
from wire.statistics import log_interval, round_log_ratio

LEAST_NS = 10_000
MOST_RATIO = 0.01
MOST_TOOL_PERCENT = 2.0

Rounds = Sequence[tuple[float, float]]
"""(product / peer, the peer's inference [ns]) of each round."""

Start = Callable[[], Talking | Stopped]

LOOP_SAID = (
    "compiled C, one thread, over the library that the product runs, for want of ONNX Runtime's own perf test, which "
    "is in no package"
)
TOOL_SAID = (
    f"{LITERT_TOOL}, one thread; it rounds to 0.01 ms, copies no tensors, and knows no turns: it is stopped by a "
    f"signal while the product has its turns of {STOPPED_TURN_S:g} s"
)


def peer_claims(product: Product, folder: Path, rounds: int) -> list[Claim]:
    """Return the claims on a plain loop, ONNX Runtime's C API, and LiteRT's own tool."""
    onnx, lite = (write_leaf(folder / f"leaf-{engine}", engine) for engine in ("onnxruntime", "litert"))

    def taken(bundle: Path, start: Start) -> Rounds:
        return [_round(product, bundle, start, number) for number in range(rounds)]

    def by_loop() -> Rounds:
        loop = OrtLoop(folder)
        return taken(onnx, lambda: loop.start(onnx))

    def by_tool() -> Rounds:
        expected_ns = infer_ns(product.once(lite))
        return taken(lite, lambda: litert_tool(lite, folder, expected_ns))

    return [
        plain_claim(taken(onnx, lambda: plain_loop(onnx))),
        _tool("ONNX Runtime, loop over its C API, difference", by_loop, LOOP_SAID),
        _tool("LiteRT, its own benchmark tool, difference", by_tool, TOOL_SAID),
    ]


def _tool(name: str, take: Callable[[], Rounds], said: str) -> Claim:
    try:
        return tool_claim(name, take(), said)
    except NoTool as exc:
        return not_measured(name, "%", f"<= {MOST_TOOL_PERCENT:g}", str(exc))


def _round(product: Product, bundle: Path, start: Start, number: int) -> tuple[float, float]:
    """Take a round: a fresh process of either, in turns. A peer that tells each turn is compared turn by turn."""
    with contextlib.closing(start()) as peer:
        peer.ready()
        if isinstance(peer, Talking):
            ours = block_medians(product.beside(bundle, peer, number), "infer_ns")
            theirs = peer.medians_ns()
            return math.exp(round_log_ratio(theirs, ours)), statistics.median(theirs)
        whole = infer_ns(product.beside(bundle, peer, number, round(STOPPED_TURN_S / BLOCK_S)))
        (median_ns,) = peer.medians_ns()
        return whole / median_ns, median_ns


def plain_claim(rounds: Rounds) -> Claim:
    """Return the claim on the product's inference time against a plain loop's: within max(1 %, 10 us)."""
    ratio, theirs = middle(rounds)
    limit_us = max(MOST_RATIO * theirs, LEAST_NS) / 1e3
    how = f"leaf_outline, {_text(rounds)}; the limit is the larger of 1 % and 10 us"
    off_us = abs(ratio - 1) * theirs / 1e3
    return at_most("plain loop around session.run, difference", off_us, round(limit_us, 3), "us", how)


def tool_claim(name: str, rounds: Rounds, said: str) -> Claim:
    """Return the claim on the product's inference time against a tool's: within 2 %."""
    how = f"leaf_outline, {_text(rounds)}; {said}"
    return at_most(name, 100 * abs(middle(rounds)[0] - 1), MOST_TOOL_PERCENT, "%", how)


def middle(rounds: Rounds) -> tuple[float, float]:
    """Return the ratio over all rounds, and the median of what the peer found [ns]."""
    ratios, theirs = zip(*rounds, strict=True)
    return statistics.geometric_mean(ratios), statistics.median(theirs)


def _text(rounds: Rounds) -> str:
    ratio, theirs = middle(rounds)
    found = [each for _, each in rounds]
    bounds = log_interval([each for each, _ in rounds])[1:] if len(rounds) > 1 else (0.0, math.inf)
    return (
        f"product {ratio * theirs / 1e6:.4f} ms, the other {theirs / 1e6:.4f} ms ({100 * (ratio - 1):+.2f} %, 95 % "
        f"bounds {100 * (bounds[0] - 1):+.2f} to {100 * (bounds[1] - 1):+.2f} %): {len(rounds)} rounds of a fresh "
        f"process a side that take turns on one core; the other's medians spread by "
        f"{100 * (max(found) / min(found) - 1):.1f} %"
    )
