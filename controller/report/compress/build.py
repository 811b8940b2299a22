"""The document of one search: what was tried, what was found, what was taken and why, and how to get it again.

Decides: the document's shape, which is part of the product: `model, search, baseline, variants, front, knee, pick,
because, finals, warnings, fleet, reproduce`. Scores of `variants` are of the validation samples, those of `finals` of
the evaluation samples. Times are seconds or milliseconds as named, sizes bytes, ratios 0 to 1; speed-up = baseline time
/ variant time. Leaves out: how it looks (`page.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from controller.choose.intervals.loss import Claim
from controller.choose.measured import Estimate
from controller.compress.search.cost import is_trained
from controller.compress.search.examine import Bench
from controller.compress.search.finish import Final, Finished
from controller.compress.search.front import front_of, knee_of
from controller.compress.search.genome import Space
from controller.compress.search.loop import Budget, Ended
from controller.compress.search.study import Row

SCHEMA = 1
Document = dict[str, Any]


@dataclass(frozen=True)
class About:
    """Of one run of a search. seconds: it took, the end included. evaluation: how many samples."""

    budget: Budget
    ended: Ended
    seconds: float
    created_s: float
    seed: int
    workers: int
    evaluation: int
    host: Mapping[str, Any]


def search_report(about: About, bench: Bench, space: Space, rows: Sequence[Row], finished: Finished) -> Document:
    """Return the document of a search."""
    front, knee = front_of(rows), knee_of(rows)
    baseline = finished.finals[0]
    return {
        "schema": SCHEMA,
        "what": "search",
        "created_s": about.created_s,
        "model": {
            "identity": bench.model.identity,
            "name": bench.model.name,
            "version": bench.model.version,
            "kind": bench.model.kind,
            "folder": str(bench.model.root),
        },
        "host": dict(about.host),
        "search": _search(about, bench, space, rows),
        "score_name": baseline.result.score_name,
        "baseline": _baseline(bench, baseline),
        "variants": [_variant(row, baseline, {one.variant for one in front}) for row in rows],
        "front": [row.variant for row in front],
        "knee": knee.variant if knee else None,
        "pick": finished.winner,
        "because": finished.choice.because,
        "decided_on": finished.decided_on,
        "rejected": {**finished.choice.rejected, **finished.lost},
        "finals": [_final(one, baseline, bench.limit) for one in finished.finals],
        "warnings": warnings_of(bench, baseline, about.evaluation),
        "fleet": None,  # what devices gave (`fleet.py`), where they measured
        "reproduce": None,
    }


def _search(about: About, bench: Bench, space: Space, rows: Sequence[Row]) -> Document:
    fold = bench.folds[0]
    return {
        "budget_s": about.budget.seconds,
        "most_variants": about.budget.variants,
        "seconds": about.seconds,
        "because": about.ended.because,
        "tried": len(rows),
        "tried_in_this_run": about.ended.tried,
        "cut_off": about.ended.cut_off,
        "outcomes": {name: sum(row.outcome == name for row in rows) for name in sorted({row.outcome for row in rows})},
        "limit_ratio": bench.limit,
        "seed": about.seed,
        "workers": about.workers,
        "samples": {
            "training": len(fold.training),
            "calibration": len(fold.calibration),
            "validation": bench.samples,
            "evaluation": about.evaluation,
        },
        "space": {name: list(choices) for name, choices in space.genes.items()},
        "dropped": dict(space.dropped),
    }


def warnings_of(bench: Bench, baseline: Final, evaluation: int) -> list[str]:
    """Return what a reader must know before the numbers are believed."""
    seen, judged = bench.looks[0].baseline, baseline.result.accuracy
    found = []
    if seen.accuracy - judged > max(bench.limit, 1 / max(evaluation, 1)):
        found.append(
            f"the baseline scores {seen.accuracy:.4f} on the validation samples and {judged:.4f} on the evaluation "
            f"samples, so that it was trained on the former: variants of its own weights seem to lose less there than "
            f"they do, and networks that are trained anew more"
        )
    return found


def _baseline(bench: Bench, final: Final) -> Document:
    seen = bench.looks[0].baseline
    return {
        "variant": final.variant.name,
        "validation_score": seen.accuracy,
        "evaluation_score": final.result.accuracy,
        "p50_ms": final.p50_ns.value / 1e6,
        "wire_bytes": final.result.wire_bytes,
        "disk_bytes": final.result.disk_bytes,
        "parameters": final.result.parameters,
        "macs": final.result.macs,
        "peak_memory_bytes": final.memory_bytes,
    }


def _variant(row: Row, baseline: Final, front: set[str]) -> Document:
    document = {name: value for name, value in asdict(row).items() if name not in ("key", "speed_key")}
    sqnr = row.sqnr_db if row.sqnr_db is not None and isfinite(row.sqnr_db) else None
    return {
        **document,
        "sqnr_db": sqnr,
        "speed_up": 1 / row.ratio if row.ratio else None,
        "p50_ms": row.ratio * baseline.p50_ns.value / 1e6 if row.ratio else None,
        "smaller": 1 / row.wire_ratio if row.wire_ratio else None,
        "on_front": row.variant in front,
    }


def _final(one: Final, baseline: Final, limit: float) -> Document:
    p50, gain = p50_of(one, baseline), one.speed_up
    return {
        "variant": one.variant.name,
        "control": one.row is None,
        "engine": one.variant.engine,
        "format": one.variant.format,
        "file": str(one.variant.model_file),
        "lineage": list(one.variant.lineage),
        "trained": one.row is not None and is_trained(one.row.as_recipe()),
        "recipe": one.row.recipe if one.row else {},
        "score": one.result.accuracy,
        "metrics": {name: value for name, value in one.result.metrics.items() if isfinite(value)},
        "samples": one.result.samples,
        "loss": loss_of(one.claim, limit),
        "validation_loss": one.row.loss if one.row else 0.0,
        "p50_ms": p50.value / 1e6,
        "p50_lower_ms": p50.lower / 1e6,
        "p50_upper_ms": p50.upper / 1e6 if isfinite(p50.upper) else None,
        "speed_up": {"ratio": gain.ratio, "lower": gain.lower, "upper": finite(gain.upper)} if one.row else None,
        "wire_bytes": one.result.wire_bytes,
        "disk_bytes": one.result.disk_bytes,
        "peak_memory_bytes": one.memory_bytes,
        "parameters": one.result.parameters,
        "macs": one.result.macs,
        "notes": list(one.result.notes),
    }  # fmt: skip


def p50_of(one: Final, baseline: Final) -> Estimate:
    """Return the median inference [ns]: the baseline's, times the ratio in the same rounds, so that both agree."""
    usual, gain = baseline.p50_ns, one.speed_up
    if one.row is None:
        return usual
    lowest = usual.value / gain.upper if isfinite(gain.upper) else 0.0
    return Estimate(usual.value / gain.ratio, lowest, usual.value / gain.lower if gain.lower else inf)


def loss_of(claim: Claim | None, limit: float) -> Document | None:
    """Return what is claimed of a loss, and whether the limit is kept; null where that cannot be said."""
    if claim is None:
        return None
    bound, refused = claim.bound, claim.says == "refused"
    kept = None if refused or bound is None or claim.smallest > limit else bound.upper <= limit
    text = claim.text if refused or kept is not None else (
        f"no claim that the limit of {limit:.4f} is kept: the smallest loss that these samples could show is "
        f"{claim.smallest:.4f}; {claim.text}"
    )  # fmt: skip
    return {
        "says": claim.says,
        "text": text,
        "lost": bound.lost if bound else None,
        "lower": claim.lower,
        "upper": bound.upper if bound else None,
        "confidence": bound.confidence if bound else None,
        "method": bound.method if bound else None,
        "smallest": finite(claim.smallest),
        "keeps_limit": kept,
    }


def finite(value: float) -> float | None:
    """Return a number, or null for what JSON cannot hold."""
    return value if isfinite(value) else None
