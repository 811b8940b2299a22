"""What variants answer on emulated processors, held against the float32 baseline and this machine's own answers.

Decides: what is compared with what, and when an emulator is not believed: float outputs depend on the processor by
rounding alone, so one that gives others computes something else. Leaves out: running (`emulated.py`), limits, and time:
an emulator's speed says nothing about the processor's.

    rows = probed(variants, machine, check(machine, "onnx", bench), bench, print)
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache
from controller.compress.probe.emulated import Emulated, Machine, run_emulated
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.variant import ENGINE_OF, FailedVariant, Variant, baseline_variant
from controller.convert.operators import file_precision
from controller.convert.parity import LIMITS, Parity, compare, fault
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder

CHECKED = 2
"""Float samples that an emulator is checked on: each takes seconds."""


@dataclass(frozen=True)
class Bench:
    """What is probed with. queries: raw, shape (n, …)."""

    model: ModelFolder
    queries: NDArray[Any]
    cache: PassCache

    def here(self, variant: Variant, rows: slice = slice(None)) -> NDArray[Any]:
        """Return what this machine answers, in the agent's own worker, shape (n, …).

        Raises:
            UnusableModel: It does not run here.
        """
        queries = self.queries[rows]
        path = run_variant(variant, queries, EvaluationContext(self.cache, queries[:0]))
        outputs: NDArray[Any] = np.load(path, allow_pickle=False)
        return outputs


@dataclass(frozen=True)
class Check:
    """Whether an emulator is believed. fault: why not. sqnr_db: null where nothing differs, or nothing was compared."""

    cpu: str
    format: str
    samples: int
    sqnr_db: float | None = None
    fault: str | None = None

    @property
    def told(self) -> str:
        """What was found, in words."""
        if self.fault is not None:
            return f"{self.format}: the emulator is not believed: {self.fault}"
        if not self.samples:
            return f"{self.format}: not checked, the model has no float file of it"
        return f"{self.format}: float outputs are this machine's, {decibels(self.sqnr_db)} over {self.samples} samples"


@dataclass(frozen=True)
class Verdict:
    """One variant on one processor.

    sqnr_db, agreement_ratio: of its outputs against the float32 baseline's of this machine; SQNR null: none differs;
    agreement of classifications only. here_…: the same of this machine's own outputs. equals_here: bit for bit the same
    as here. kept: it was run before. error: why there is nothing, null otherwise.
    """

    variant: str
    cpu: str
    format: str
    engine: str | None = None
    engine_version: str | None = None
    here_engine_version: str | None = None
    samples: int = 0
    sqnr_db: float | None = None
    agreement_ratio: float | None = None
    here_sqnr_db: float | None = None
    here_agreement_ratio: float | None = None
    equals_here: bool | None = None
    largest_difference_from_here: float | None = None
    kept: bool = False
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


def check(machine: Machine, form: str, bench: Bench) -> Check:
    """Compare float outputs of a format's engine on the emulated processor with this machine's."""
    cpu = machine.processor.name
    known = bench.model.formats
    if form not in known or file_precision(form, bench.model.file(form)) != "float32":
        return Check(cpu, form, 0)
    variant, rows = _float(bench.model, form), slice(0, CHECKED)
    try:
        given = run_emulated(variant, bench.queries[rows], machine, bench.cache).outputs
        parity = compare(bench.here(variant, rows), given, bench.model.answered_as)
    except (UnusableModel, ValueError) as exc:
        return Check(cpu, form, CHECKED, fault=str(exc))
    return Check(cpu, form, parity.samples, parity.sqnr_db, fault(parity, LIMITS[form, "float"]))


def _float(model: ModelFolder, form: str) -> Variant:
    own = baseline_variant(model)
    if own.format == form:
        return own
    path, pipeline = model.file(form), model.pipeline(form)
    return replace(own, format=form, engine=ENGINE_OF[form], model_file=path, pipeline=pipeline)


def probed(
    variants: Sequence[Variant | FailedVariant],
    machine: Machine,
    checks: Sequence[Check],
    bench: Bench,
    tell: Callable[[str], None],
) -> list[Verdict]:
    """Return a verdict for each variant.

    Args:
        variants: In their order.
        machine: The emulated processor.
        checks: Of its engines, by format.
        bench: Model, queries and cache.
        tell: Is called with what was found of each.
    """
    by_format = {each.format: each for each in checks}
    baseline = bench.here(baseline_variant(bench.model))
    found = []
    for variant in variants:
        found.append(_verdict(variant, machine, by_format.get(variant.format), baseline, bench))
        tell(f"{variant.name}: {found[-1].error or told(found[-1])}")
    return found


def _verdict(
    variant: Variant | FailedVariant, machine: Machine, known: Check | None, baseline: NDArray[Any], bench: Bench
) -> Verdict:
    nothing = Verdict(variant.name, machine.processor.name, variant.format)
    if isinstance(variant, FailedVariant):
        return replace(nothing, error=variant.because)
    if known is not None and known.fault is not None:
        return replace(nothing, error=f"the emulator is not believed: of the float model, {known.fault}")
    try:
        here, there = bench.here(variant), run_emulated(variant, bench.queries, machine, bench.cache)
        kind = bench.model.answered_as
        own, other = compare(baseline, here, kind), compare(baseline, there.outputs, kind)
        return _compared(nothing, there, (own, other), compare(here, there.outputs, kind))
    except (UnusableModel, ValueError) as exc:
        return replace(nothing, error=str(exc))


def _compared(nothing: Verdict, there: Emulated, to_baseline: tuple[Parity, Parity], to_here: Parity) -> Verdict:
    own, other = to_baseline
    return replace(
        nothing,
        engine=there.engine,
        engine_version=there.version,
        here_engine_version=there.here_version,
        samples=other.samples,
        sqnr_db=other.sqnr_db,
        agreement_ratio=other.top1_agreement_ratio,
        here_sqnr_db=own.sqnr_db,
        here_agreement_ratio=own.top1_agreement_ratio,
        equals_here=to_here.sqnr_db is None,
        largest_difference_from_here=to_here.largest_difference,
        kept=there.kept,
    )


def told(verdict: Verdict) -> str:
    """Return a verdict in a few words."""
    agreement = verdict.agreement_ratio
    same = "" if agreement is None else f", same top-1 in {round(agreement * verdict.samples)} of {verdict.samples}"
    return f"{decibels(verdict.sqnr_db)}{same}"


def decibels(sqnr_db: float | None) -> str:
    """Return signal to noise in words."""
    return "no difference" if sqnr_db is None else f"{sqnr_db:.1f} dB"
