"""Which methods fit a model and why, from what is known of it. Pure.

Decides: the rules, each with its threshold beside it. Leaves out: trying (`controller model compress`): advice says
where to begin, measurements decide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from controller.compress.advise.facts import Facts

Fit = Literal["yes", "maybe", "no"]

GOOD_DB, POOR_DB = 25.0, 15.0
"""Outputs' SQNR from which int8 hardly ever costs accuracy, and below which it nearly always does."""
TINY_MACS = 300_000
"""An inference of fewer is over in the time that an engine takes to begin and end."""
FEW_SAMPLES = 500


@dataclass(frozen=True)
class Advice:
    """One method. fit: whether to begin with it. recipe: a shipped one that does it, or empty."""

    method: str
    fit: Fit
    because: str
    recipe: str = ""


def advise(facts: Facts) -> tuple[Advice, ...]:
    """Return advice on every method, those that fit first."""
    order = {"yes": 0, "maybe": 1, "no": 2}
    return tuple(sorted((rule(facts) for rule in _RULES), key=lambda each: order[each.fit]))


def _static(facts: Facts) -> Advice:
    method, recipe = "static int8", "int8-u8s8-percentile"
    if facts.int8_db is None:
        return Advice(method, "no", f"what it costs is not known: {facts.why_not}", recipe)
    if facts.recurrent:
        said = f"{', '.join(facts.recurrent)} stays float; the rest gives {facts.int8_db:.1f} dB"
        return Advice(method, "maybe", said, recipe)
    said = (
        f"outputs keep {facts.int8_db:.1f} dB with everything quantised; which scheme is fast depends on the processor"
    )
    fit: Fit = "yes" if facts.int8_db >= POOR_DB else "maybe"
    return Advice(method, fit, said, recipe)


def _mixed(facts: Facts) -> Advice:
    method, recipe = "mixed precision", "int8-u8u8-mixed"
    if not facts.sensitivity or facts.int8_db is None:
        return Advice(method, "no", facts.why_not or "too many operators to look at each alone", recipe)
    if facts.int8_db >= GOOD_DB:
        return Advice(method, "no", f"plain int8 keeps {facts.int8_db:.1f} dB already", recipe)
    worst = ", ".join(f"{name} ({db:.1f} dB)" for name, db in list(facts.sensitivity.items())[:3])
    return Advice(method, "yes", f"most is lost in {worst}: leave these float", recipe)


def _refined(facts: Facts) -> Advice:
    method, recipe = "adaptive rounding and quantisation-aware training", "int8-u8u8-trained"
    if facts.int8_db is None:
        return Advice(method, "no", facts.why_not, recipe)
    if facts.int8_db >= GOOD_DB:
        return Advice(method, "no", f"plain int8 keeps {facts.int8_db:.1f} dB already", recipe)
    return Advice(method, "yes", f"plain int8 keeps {facts.int8_db:.1f} dB, and both win some of the rest back", recipe)


def _equalise(facts: Facts) -> Advice:
    said = f"the widest channel of a weight is {facts.range_spread:.1f} times its median one"
    fit: Fit = "maybe" if facts.range_spread > 8 else "no"
    more = ": with one scale for a whole weight that costs bits" if fit == "maybe" else ""
    return Advice("equalising channels", fit, said + more)


def _dynamic(facts: Facts) -> Advice:
    if facts.convolution_ratio > 0.2:
        said = f"{facts.convolution_ratio:.0%} of the weights are convolutions, for which it is several times slower"
        return Advice("dynamic int8", "no", said, "int8-dynamic")
    return Advice("dynamic int8", "yes", "products make up the network, and nothing is calibrated", "int8-dynamic")


def _four_bits(facts: Facts) -> Advice:
    said = f"{facts.product_ratio:.0%} of the weights are in products"
    fit: Fit = "yes" if facts.product_ratio > 0.8 else "maybe" if facts.product_ratio > 0.3 else "no"
    return Advice("4-bit weights", fit, said, "int4-weights")


def _half(_facts: Facts) -> Advice:
    said = "half of the bytes at hardly any loss; faster only on processors that compute in half precision"
    return Advice("float16", "maybe", said, "float16")


def _student(facts: Facts) -> Advice:
    method, recipe = "a smaller student, distilled", "student-separable"
    if facts.macs < TINY_MACS:
        said = f"{facts.macs:,} multiply-accumulates are over in the time that an engine takes to begin"
        return Advice(method, "no", f"{said}: choose the engine instead", recipe)
    if not facts.samples:
        return Advice(method, "no", "there are no samples to train on", recipe)
    few = "; few samples: declare augmentations" if facts.samples < FEW_SAMPLES else ""
    labels = "labels and the model teach" if facts.labelled else "the model teaches without labels"
    return Advice(method, "yes", f"{facts.samples:,} samples, {labels}{few}; the largest gains are here", recipe)


def _channels(facts: Facts) -> Advice:
    method, recipe = "taking channels out", "channels-half-distilled"
    wide = [width for width in facts.channels if width >= 16]
    if not wide:
        return Advice(method, "no", "no width of 16 or more from which channels can be taken", recipe)
    said = f"{len(wide)} widths of {min(wide)} to {max(wide)} channels can shrink"
    if not facts.samples:
        return Advice(method, "maybe", f"{said}, a tenth at most without training", recipe)
    return Advice(method, "yes", f"{said}; train afterwards", recipe)


def _rank(facts: Facts) -> Advice:
    said = f"factors with 95 % of the energy hold {facts.rank_ratio:.0%} of the values"
    fit: Fit = "yes" if facts.rank_ratio < 0.5 else "maybe" if facts.rank_ratio < 0.8 else "no"
    return Advice("low rank", fit, said, "low-rank-distilled" if facts.samples else "low-rank")


def _zeros(_facts: Facts) -> Advice:
    return Advice(
        "zeros (unstructured pruning)", "maybe", "for the download alone: no engine skips them", "pruned-gradually"
    )


def _codebook(facts: Facts) -> Advice:
    said = f"for the download alone: {facts.disk_bytes:,} bytes become about a sixth, computed in float as before"
    return Advice("a codebook", "maybe", said, "codebook-4bit")


_RULES: tuple[Callable[[Facts], Advice], ...] = (
    _static, _student, _channels, _mixed, _refined, _four_bits, _dynamic, _rank, _equalise, _half, _codebook, _zeros,
)  # fmt: skip
