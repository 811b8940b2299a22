"""How variants are measured on the fleet: grade, scenario, devices, how many variants, and what serving may lose.

Decides: the `trials` section's fields, and that a setting which the scenario does not read is refused. Leaves out:
which goals a scenario can answer (`controller/choose/goals`) and what it all costs (`plan`).

    trials: {scenario: server, settings: {rate_hz: 20, bound_ms: 50}, window: {opens: "22:00", closes: "04:00"}}
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from controller.config.section import Section
from wire.base import Name
from wire.trial import PlanPolicy, Scenario, ScenarioSettings
from wire.update import Window

READS: Mapping[Scenario, frozenset[str]] = {
    "single_stream": frozenset(),
    "multi_stream": frozenset({"streams"}),
    "offline": frozenset({"queries", "batch"}),
    "server": frozenset({"rate_hz", "bound_ms", "seed"}),
    "paced": frozenset({"period_ms", "bound_ms"}),
}
"""Scenario -> the settings that change what it measures."""

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY_MINUTES = 24 * 60


class ScenarioFields(Section):
    """The `settings` of a scenario; each scenario reads its own."""

    batch: int = Field(default=1, ge=1, le=1024)
    """`offline`: queries that the engine is given at once; more than one only where the model's batch axis is free."""
    streams: int = Field(default=8, ge=1, le=256)
    """`multi_stream`: queries that come at once; the latency is that of all of them."""
    queries: int = Field(default=256, ge=1, le=100_000)
    """`offline`: queries that are there at the start."""
    rate_hz: float | None = Field(default=None, gt=0, le=1e6)
    """`server`: arrivals a second, of a Poisson process; the same for all variants."""
    period_ms: float = Field(default=100.0, gt=0, le=60_000)
    """`paced`: from one query to the next [ms]."""
    bound_ms: float | None = Field(default=None, gt=0)
    """`server`, `paced`: latency that a query should keep [ms]; the share that does not is reported."""
    seed: int = Field(default=1, ge=0)
    """`server`: of the arrivals."""


class TrialWindow(Section):
    """When devices measure; a window that closes before it opens spans midnight."""

    opens: str
    """First minute, "HH:MM" in the device's local time."""
    closes: str
    """First minute that is too late, "HH:MM". A group that was begun before is measured to its end."""

    @field_validator("opens", "closes", mode="before")
    @classmethod
    def _is_a_time(cls, value: Any) -> Any:
        # YAML reads an unquoted 22:00 as the sexagesimal number 1320: the same minute of the day.
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _DAY_MINUTES:
            return f"{value // 60:02d}:{value % 60:02d}"
        if not isinstance(value, str) or not _CLOCK.fullmatch(value):
            raise ValueError(f'{value!r} is no time of the day: write it as "22:00"')
        return value

    @model_validator(mode="after")
    def _is_open_at_all(self) -> Self:
        if self.opens == self.closes:
            raise ValueError("a window that opens and closes in the same minute is never open; leave it out for always")
        return self

    @property
    def on_the_wire(self) -> Window:
        """The same in minutes of the day."""
        return Window(from_minute=_minute(self.opens), to_minute=_minute(self.closes))

    @property
    def closed_s(self) -> float:
        """How long it is closed every day [s]."""
        open_minutes = (_minute(self.closes) - _minute(self.opens)) % _DAY_MINUTES
        return 60.0 * (_DAY_MINUTES - open_minutes)

    def __str__(self) -> str:
        return f"{self.opens} to {self.closes}"


class TrialSettings(Section):
    """The `trials` part of a workload."""

    grade: Literal["quick", "normal", "ranking"] = "normal"
    """`quick`: at most 6 s timed a variant, labelled so. `normal`: five processes. `ranking`: 60 s a process."""
    scenario: Scenario = "single_stream"
    """How queries come: one after the other, several at once, all at once, at random times, or one every period."""
    settings: ScenarioFields = ScenarioFields()
    """Of the scenario; one that it does not read is refused."""
    threads: int | None = Field(default=None, ge=1, le=256)
    """Threads of the engine while measuring; null: those with which the device serves. A sweep is for `agent bench`."""
    profile: bool = False
    """Measure the operators as well, in one more process a variant."""
    devices_per_class: int = Field(default=3, ge=1, le=100)
    """Devices of a class that measure the same variants."""
    most_variants: int = Field(default=6, ge=1, le=50)
    """Variants a device measures beside the control, after the host's screen."""
    policy: Literal["pause", "coexist"] = "pause"
    """`pause`: serving stops while measuring. `coexist`: both run; such numbers are compared with themselves only."""
    longest_pause_s: float = Field(default=300.0, gt=0, le=86400)
    """Longest pause of serving [s]; what takes longer is split into sittings, each with the control."""
    window: TrialWindow | None = None
    """When devices may begin to measure; any time, where left out."""
    timeout_s: float = Field(default=1800.0, gt=0, le=7 * 86400)
    """How long to wait for the records of a class [s]; with a window, the hours that it is closed come on top."""
    repeats: int = Field(default=2, ge=0, le=10)
    """How often a device measures again, beside the control, what came back void (disturbed, throttled)."""
    also_measure: dict[Name, tuple[str, ...]] = Field(default_factory=dict)
    """Class -> patterns of variant or recipe names (`*dynamic*`) that are measured whatever the screen says."""

    @model_validator(mode="after")
    def _settings_are_read(self) -> Self:
        reads = READS[self.scenario]
        if unread := sorted(self.settings.model_fields_set - reads):
            can = f"it reads {', '.join(sorted(reads))}" if reads else "it reads none"
            raise ValueError(f"settings.{unread[0]}: the scenario {self.scenario} does not read it; {can}")
        if self.scenario == "server" and self.settings.rate_hz is None:
            # Half of what each variant could answer would load a fast one more than a slow one.
            raise ValueError("settings.rate_hz: say it for the scenario server, or variants would meet different loads")
        return self

    @property
    def patience_s(self) -> float:
        """How long records are waited for [s]: a device may have to wait for its window first."""
        return self.timeout_s + (0.0 if self.window is None else self.window.closed_s)

    @property
    def scenario_settings(self) -> ScenarioSettings:
        """The settings as a request carries them."""
        return ScenarioSettings.model_validate(self.settings.model_dump())

    @property
    def plan_policy(self) -> PlanPolicy:
        """What a plan says of serving meanwhile."""
        window = None if self.window is None else self.window.on_the_wire
        return PlanPolicy(serving=self.policy, longest_pause_s=self.longest_pause_s, window=window)

    def wants(self, device_class: str, *names: str) -> bool:
        """Whether a variant that goes by any of `names` is to be measured whatever the screen says."""
        patterns = self.also_measure.get(device_class, ())
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return 60 * int(hours) + int(minutes)
