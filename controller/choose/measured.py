"""What the choice sees of a variant: plain values and arrays, made by `trial.summary`, read by `choose`.

Decides: how the numbers of several devices of a class become one (the worst of them). Leaves out: statistics (`speed`,
`paired`) and the choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wire.trial import Scenario, ScenarioSettings

Outcome = Literal["measured", "unfit", "incompatible", "failed"]
PAUSE_SPENT = "pause_spent"
"""In front of the error of a trial that was cut short, since serving had paused for as long as the plan allows."""


@dataclass(frozen=True)
class Estimate:
    """A value with its bounds; each bound holds with the confidence that its maker names."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class Judgement:
    """A variant's answers against the labels, sample by sample, in the evaluation set's order.

    `correct` (n,) for classification; `squared_errors` (n,) and the labels' `variance` (ddof 0) for regression.
    """

    metrics: Mapping[str, float]
    correct: NDArray[np.bool_] | None = None
    squared_errors: NDArray[np.float64] | None = None
    variance: float | None = None

    @property
    def samples(self) -> int:
        """Number of labelled samples."""
        answers = self.correct if self.correct is not None else self.squared_errors
        return 0 if answers is None else len(answers)


@dataclass(frozen=True)
class TrialSummary:
    """One variant on one device.

    `process_medians_ns`: the median query of each fresh process that counts [ns]; `offline`: its mean time per query,
    `query_ns` over all of them, and no latency of a query. `multi_stream`: the latency is that of all streams' queries.
    `p95_ns` is None where there are too few samples, or where a sample is a mean of several calls. `void` reasons make
    its speed unusable.
    """

    trial: str
    device: str
    variant: str
    bundle: str
    control: bool
    outcome: Outcome
    grade: str
    because: str = ""
    samples: int = 0
    process_medians_ns: tuple[float, ...] = ()
    p50_ns: Estimate | None = None
    p95_ns: Estimate | None = None
    p99_ns: Estimate | None = None
    peak_memory_bytes: int | None = None
    memory_by: str | None = None
    judgement: Judgement | None = None
    flags: tuple[str, ...] = ()
    void: tuple[str, ...] = ()
    emulated: bool = False
    serving_lost_s: float = 0.0
    scenario: Scenario = "single_stream"
    settings: ScenarioSettings = field(default_factory=ScenarioSettings)
    threads: int = 1
    serving_policy: str = "pause"
    query_ns: Estimate | None = None
    over_bound_ratio: float | None = None
    energy_j: float | None = None

    @property
    def sitting(self) -> str:
        """Device, sitting and repeat: trials of one sitting were interleaved, so that their speeds can be compared."""
        return f"{self.device}/{self.trial.partition('.')[2]}"

    @property
    def terms(self) -> str:
        """What must be equal for speeds to be comparable even within a sitting."""
        return f"{self.scenario} {self.settings.model_dump_json()} threads {self.threads} {self.serving_policy}"


@dataclass(frozen=True)
class Measured:
    """One variant in one class: its trials (one a device) and its sizes [bytes].

    `attacked`: its answers under attack, sample by sample; where there are none, `not_attacked` says why.
    """

    variant: str
    bundle: str
    wire_bytes: int
    disk_bytes: int
    trials: tuple[TrialSummary, ...] = field(default=())
    attacked: Judgement | None = None
    not_attacked: str = ""

    @property
    def usable(self) -> tuple[TrialSummary, ...]:
        """The trials whose numbers count: measured, not void, with samples."""
        return tuple(
            trial
            for trial in self.trials
            if trial.outcome == "measured" and not trial.void and trial.process_medians_ns
        )

    @property
    def excluded(self) -> str | None:
        """Why no number of this variant can be used; None where they can. One device that cannot run it is enough.

        A sitting that was cut short because the longest pause was over says nothing of the variant: its other ones do.
        """
        for trial in self.trials:
            cut_short = bool(self.usable) and trial.because.startswith(PAUSE_SPENT)
            if trial.outcome != "measured" and not cut_short:
                return f"{trial.outcome} on {trial.device}: {trial.because or 'no reason given'}"
        if self.usable:
            return self._mixed
        if not self.trials:
            return "no device measured it"
        first = self.trials[0]
        return f"void on {first.device}: {', '.join(first.void) or 'no samples'}"

    @property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """The scenarios and serving policies under which it was measured."""
        return frozenset((trial.scenario, trial.serving_policy) for trial in self.usable)

    @property
    def _mixed(self) -> str | None:
        if len(self.kinds) < 2:
            return None
        named = " and ".join(sorted(" ".join(kind) for kind in self.kinds))
        return f"measured in ways that are not compared with each other: {named}"

    @property
    def p50_ns(self) -> Estimate | None:
        """Median latency on the slowest device [ns]."""
        return _slowest([trial.p50_ns for trial in self.usable])

    @property
    def p95_ns(self) -> Estimate | None:
        """95th percentile on the slowest device [ns]; None where a device has none."""
        return _slowest([trial.p95_ns for trial in self.usable])

    @property
    def query_ns(self) -> Estimate | None:
        """Mean time per query offline on the slowest device [ns]; None in other scenarios."""
        return _slowest([trial.query_ns for trial in self.usable])

    @property
    def peak_memory_bytes(self) -> int | None:
        """Peak memory on the device that needed most [bytes]; None where a device could not tell."""
        peaks = [trial.peak_memory_bytes for trial in self.usable]
        return None if not peaks or None in peaks else max(peak for peak in peaks if peak is not None)

    @property
    def judgements(self) -> dict[str, Judgement]:
        """Device -> its answers against the labels."""
        return {trial.device: trial.judgement for trial in self.usable if trial.judgement is not None}


def _slowest(estimates: list[Estimate | None]) -> Estimate | None:
    known = [estimate for estimate in estimates if estimate is not None]
    return max(known, key=lambda each: each.value) if known and len(known) == len(estimates) else None
