"""The policy of a rollout: waves, gates, times. Parsed when it is created; what cannot be parsed does not start.

Decides: names, ranges, and that a limit which could never fire is refused. Leaves out: what follows (`decide`,
`gates`). The parsed policy is stored with the rollout (`policy.model_dump_json()`), so that a later edit of the file
changes nothing.
"""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from controller.config.section import Section


class Wave(Section):
    """How far a wave reaches, in each class and counted from the start of the rollout: so many devices, or a share."""

    devices: int | None = Field(default=None, ge=1)
    """Devices of each class that have the new bundle once this wave is done."""
    ratio: float | None = Field(default=None, gt=0, le=1)
    """Share of each class, rounded up."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.devices is None) == (self.ratio is None):
            raise ValueError("a wave has exactly one of devices and ratio")
        return self

    def reach(self, class_size: int) -> int:
        """Return how many of a class's devices belong to this wave and those before it."""
        if self.devices is not None:
            return min(self.devices, class_size)
        assert self.ratio is not None  # the validator saw to it
        return min(class_size, math.ceil(self.ratio * class_size - 1e-9))


class ErrorRateGate(Section):
    """Compares the share of failed queries with the hold-out of the same class."""

    margin_ratio: float = Field(gt=0, lt=1)
    """How much higher the canary's share may be."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Chance of never passing, or never failing, wrongly, however often it is looked at."""
    required: bool = False
    """Whether a wave waits until this gate passes; else it can only stop one."""


class LatencyGate(Section):
    """Holds the canary's 95th percentile to a limit."""

    max_p95_ms: float = Field(gt=0)
    """Limit [ms]."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Chance of never passing, or never failing, wrongly, however often it is looked at."""
    required: bool = False
    """Whether a wave waits until this gate passes; else it can only stop one."""


class GatePolicy(Section):
    """What a wave must show before the next one starts."""

    max_failure_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Largest failed / (committed + failed) of a class in a wave."""
    min_sample: int = Field(default=1, ge=1)
    """Devices of a class that must have committed or failed; a wave with fewer of the class asks for all of them."""
    quorum_ratio: float = Field(default=1.0, gt=0, le=1)
    """Share of a wave's reachable devices of a class that must have ended."""
    timeout_s: float = Field(default=600.0, gt=0, le=30 * 86400)
    """An undecided gate waits so long, is extended once by as much, then the rollout pauses [s]."""
    error_rate: ErrorRateGate | None = None
    """Gate on the queries' errors; none by default."""
    latency: LatencyGate | None = None
    """Gate on the queries' latency; none by default."""


class RolloutPolicy(Section):
    """The `rollout` part of a workload."""

    waves: tuple[Wave, ...] = Field(default=(Wave(devices=1), Wave(ratio=1.0)), min_length=1, max_length=20)
    """From the canaries to the whole fleet; the last wave is `{ratio: 1.0}`."""
    soak_s: float = Field(default=60.0, ge=0, le=30 * 86400)
    """How long a wave that has ended is watched before its gate [s]."""
    probation_s: float = Field(default=30.0, ge=0, le=7 * 86400)
    """How long a device watches a new bundle before it commits [s]."""
    gate: GatePolicy = GatePolicy()
    """What a wave must show."""
    approval: Literal["none", "first_wave", "every_wave"] = "none"
    """Who starts a wave: nobody need, or an operator by `controller rollout approve`."""
    deadline_s: float = Field(default=3600.0, gt=0, le=30 * 86400)
    """How long a wave waits for its devices; who has not answered by then is a straggler [s]."""
    silence_s: float = Field(default=120.0, gt=0, le=86400)
    """A device that switched and then says nothing for so long counts as failed [s]."""
    rollback_s: float = Field(default=600.0, gt=0, le=30 * 86400)
    """How long a rollback waits for its devices before it ends with stragglers [s]."""

    @model_validator(mode="after")
    def _waves_grow_to_the_whole_fleet(self) -> Self:
        if self.waves[-1].ratio != 1.0:
            raise ValueError("the last wave must be {ratio: 1.0}: else a part of the fleet would never be reached")
        for before, after in zip(self.waves, self.waves[1:], strict=False):
            if not _larger(before, after):
                raise ValueError(f"waves must grow: {_shown(after)} comes after {_shown(before)}")
        return self


def _larger(before: Wave, after: Wave) -> bool:
    if before.ratio is not None and after.ratio is not None:
        return after.ratio > before.ratio
    if before.devices is not None and after.devices is not None:
        return after.devices > before.devices
    return after.ratio is not None  # a count after a share depends on the class: refused


def _shown(wave: Wave) -> str:
    return f"{{devices: {wave.devices}}}" if wave.devices is not None else f"{{ratio: {wave.ratio:g}}}"
