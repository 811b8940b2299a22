"""What a user asks of a variant: limits that it must keep, and what to minimise among those that keep them.

Decides: names, ranges and defaults, and that limits which could never fire, or never be met, are refused when read.
Leaves out: how limits are tested (`paired`, `speed`) and how the choice is made (`choose`).
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from controller.config.section import Section
from wire.trial import Scenario

Criterion = Literal["p50_ms", "p95_ms", "query_ms", "wire_bytes", "disk_bytes", "peak_memory_bytes"]
LATENCIES: frozenset[Criterion] = frozenset({"p50_ms", "p95_ms"})
SPEEDS: frozenset[Criterion] = LATENCIES | {"query_ms"}


class GoalFields(Section):
    """The fields of goals; a class's overrides have the same."""

    max_accuracy_drop_ratio: float | None = Field(default=None, ge=0, lt=1)
    """Classification: largest share of samples that may be lost against the fp32 control, e.g. 0.025 (2.5 points)."""
    max_r2_drop: float | None = Field(default=None, ge=0, le=1)
    """Regression: largest loss of R2 against the fp32 control."""
    max_attacked_drop_ratio: float | None = Field(default=None, ge=0, lt=1)
    """Classification: largest share of samples that may be lost against the fp32 control, both under attack (PGD, each
    through its own graph). Needs `attack_epsilon`, and the converter environment `torch`; variants that are not ONNX
    cannot be attacked, and do not keep it."""
    attack_epsilon: float | None = Field(default=None, gt=0)
    """The largest change of an input value under attack, in the unit of the prepared input."""
    decide_on: Literal["bound", "point_estimate"] = "bound"
    """`bound`: the upper confidence bound of the loss must keep the limit. `point_estimate`: the loss seen must."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """One-sided confidence of the bounds on accuracy and on p95."""
    max_p95_ms: float | None = Field(default=None, gt=0)
    """Limit on the upper bound of the 95th percentile of the latency [ms]."""
    min_queries_per_second: float | None = Field(default=None, gt=0)
    """Scenario `offline`: limit on the lower bound of the queries answered in a second."""
    max_memory_bytes: int | None = Field(default=None, gt=0)
    """Limit on the peak memory of the worker [bytes]."""
    max_wire_bytes: int | None = Field(default=None, gt=0)
    """Limit on what a device must download [bytes]."""
    minimise: tuple[Criterion, ...] = Field(default=("p95_ms", "wire_bytes", "peak_memory_bytes"), min_length=1)
    """In this order: variants within `tolerance_ratio` of the best in one criterion are told apart by the next.

    `query_ms` is the mean time per query of the scenario `offline` (1000 / queries per second), which has no latency of
    a query; in `multi_stream` p50 and p95 are of all streams' queries together.
    """
    tolerance_ratio: float = Field(default=0.05, ge=0, lt=1)
    """How much worse than the best counts as equal (lexicographic choice with tolerance)."""


class Goals(GoalFields):
    """Complete goals: one limit on the loss of accuracy, any others, and the objective."""

    @model_validator(mode="after")
    def _one_limit_on_the_loss(self) -> Self:
        if (self.max_accuracy_drop_ratio is None) == (self.max_r2_drop is None):
            raise ValueError(
                "say how much may be lost: exactly one of max_accuracy_drop_ratio (classification) "
                "and max_r2_drop (regression)"
            )
        if self.decide_on == "bound" and self.largest_loss == 0:
            raise ValueError(
                "no finite evaluation set proves a loss of 0: raise the limit, or set decide_on: point_estimate"
            )
        if (self.max_attacked_drop_ratio is None) != (self.attack_epsilon is None):
            raise ValueError("max_attacked_drop_ratio and attack_epsilon go together: set both, or neither")
        if self.decide_on == "bound" and self.max_attacked_drop_ratio == 0:
            raise ValueError("max_attacked_drop_ratio: no finite evaluation set proves a loss of 0: raise it")
        if len(set(self.minimise)) != len(self.minimise):
            raise ValueError("minimise names a criterion twice")
        return self

    @property
    def largest_loss(self) -> float:
        """The limit on the loss: a share of the samples, or of R2."""
        limit = self.max_accuracy_drop_ratio if self.max_accuracy_drop_ratio is not None else self.max_r2_drop
        assert limit is not None  # the validator saw to it
        return limit

    def check_scenario(self, scenario: Scenario) -> None:
        """Refuse what trials of this scenario cannot answer.

        Raises:
            ValueError: A criterion or a limit that they give no number for; what to write instead.
        """
        gives: frozenset[Criterion] = frozenset({"query_ms"}) if scenario == "offline" else LATENCIES
        if lacking := [each for each in self.minimise if each in SPEEDS - gives]:
            raise ValueError(
                f"minimise: trials of the scenario {scenario} give no {lacking[0]}; take {' or '.join(sorted(gives))}"
            )
        if self.max_p95_ms is not None and "p95_ms" not in gives:
            raise ValueError(
                f"max_p95_ms: trials of the scenario {scenario} give no latency of a query; take min_queries_per_second"
            )
        if self.min_queries_per_second is not None and "query_ms" not in gives:
            raise ValueError(
                f"min_queries_per_second: trials of the scenario {scenario} say nothing of it; set trials.scenario: "
                "offline, or take max_p95_ms"
            )

    def changed(self, change: "GoalsChange") -> "Goals":
        """Return these goals with the fields that `change` sets.

        Raises:
            ValueError: The result is not valid.
        """
        return Goals.model_validate(self.model_dump() | change.model_dump(include=set(change.model_fields_set)))


class GoalsChange(GoalFields):
    """What one device class wants otherwise; fields that are left out stay as they are."""
