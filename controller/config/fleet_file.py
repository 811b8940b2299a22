"""The fleet file: device classes, workloads, goals, trials and rollout of one fleet.

Decides: the file's fields and which combinations are refused. Leaves out: reading YAML (`yaml_file`), which class a
device belongs to (`classes`), where models and recipes lie (`references`).

    fleet = load_fleet(Path("configs/fleets/farm-sensors.yaml"))
    goals = fleet.workload("main").goals_of("emulated-single")
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from controller.choose.goals import Goals, GoalsChange
from controller.config.section import Section
from controller.config.yaml_file import load_yaml
from controller.errors import ConfigurationError, NotFound
from controller.rollout.policy import RolloutPolicy
from controller.trial.settings import TrialSettings
from wire.base import Name


class BrokerAddress(Section):
    """Where the MQTT broker is. Secrets stand in files of their own, never here."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    """Host name or address."""
    port: int = Field(default=1883, ge=1, le=65535)
    """TCP port."""
    username: str | None = None
    """User name, where the broker asks for one."""
    password_file: str | None = None
    """File that holds the password; relative to this file."""
    ca_file: str | None = None
    """Certificate authority for TLS; relative to this file."""

    def with_environment(self, environment: Mapping[str, str]) -> "BrokerAddress":
        """Return the address with `THRESHER_BROKER_HOST`, `_PORT`, `_USERNAME`, `_PASSWORD_FILE`, `_CA_FILE` over it.

        Raises:
            ConfigurationError: A variable does not hold what its field takes.
        """
        over = {name: environment[key] for name in type(self).model_fields if (key := _variable(name)) in environment}
        try:
            return BrokerAddress.model_validate(self.model_dump() | over)
        except ValueError as exc:
            raise ConfigurationError(f"variables {', '.join(map(_variable, over))}: {exc}") from exc


class MemoryRange(Section):
    """Memory of a device [bytes]: its cap where it has one, else what is built in."""

    at_least: int | None = Field(default=None, gt=0)
    """Smallest [bytes]."""
    at_most: int | None = Field(default=None, gt=0)
    """Largest [bytes]."""

    @model_validator(mode="after")
    def _can_match(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("say at_least, at_most, or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"no device can match: at_least {self.at_least} is above at_most {self.at_most}")
        return self


class Match(Section):
    """What a device of the class has; all that is given must hold."""

    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Labels of the agent's configuration."""
    soc: str | None = None
    """Pattern of the system on chip, e.g. `BCM2712*`; case does not matter."""
    machine: str | None = None
    """Machine as `uname -m` says it, e.g. `aarch64`."""
    memory_bytes: MemoryRange | None = None
    """Range of the memory."""
    engines: tuple[str, ...] = ()
    """Engines that the device must have found."""

    @property
    def empty(self) -> bool:
        """Whether every device matches."""
        return self == Match()


class DeviceClass(Section):
    """Devices alike: one variant is chosen for them per workload."""

    name: Name
    """Name of the class."""
    match: Match = Match()
    """Which devices belong to it; an empty match is only for a fleet of one class."""
    engines: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Engines that variants for this class may use; all that its devices have, where left out."""


class ClassChange(Section):
    """What one class wants otherwise."""

    goals: GoalsChange = GoalsChange()
    """Goals that differ."""


class Workload(Section):
    """What the fleet's devices are for: a model, its recipes, and how it gets onto them."""

    model: str = Field(min_length=1)
    """NAME@VERSION of a model in the workspace, or the path of a model folder relative to this file."""
    recipes: tuple[str, ...] = Field(default=("all",), min_length=1)
    """Names of shipped recipes, paths of recipe files relative to this file, or `all`."""
    classes: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """Classes that run this workload; all, where left out."""
    goals: Goals
    """Limits and objective."""
    trials: TrialSettings = TrialSettings()
    """How variants are measured."""
    rollout: RolloutPolicy = RolloutPolicy()
    """How the choice is rolled out."""
    per_class: dict[Name, ClassChange] = Field(default_factory=dict)
    """Class -> what it wants otherwise."""

    @model_validator(mode="after")
    def _changes_are_valid(self) -> Self:
        self._check_goals("goals", GoalsChange())
        for name, change in self.per_class.items():
            self._check_goals(f"per_class.{name}.goals", change.goals)
        return self

    def _check_goals(self, where: str, change: GoalsChange) -> None:
        try:
            self.goals.changed(change).check_scenario(self.trials.scenario)
        except ValueError as exc:
            raise ValueError(f"{where}: {_said(exc)}") from exc

    def goals_of(self, device_class: str) -> Goals:
        """Return the goals of a class, its changes applied."""
        change = self.per_class.get(device_class)
        return self.goals if change is None else self.goals.changed(change.goals)


class FleetFile(Section):
    """One fleet."""

    version: Literal[1]
    """Version of this format."""
    fleet: Name
    """Name of the fleet; it stands in every topic."""
    broker: BrokerAddress = BrokerAddress()
    """Where the broker is."""
    classes: tuple[DeviceClass, ...] = Field(default=(DeviceClass(name="all"),), min_length=1, max_length=100)
    """Device classes; left out: one class `all`."""
    workloads: dict[Name, Workload] = Field(min_length=1, max_length=64)
    """Workload -> what it is."""

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> Self:
        names = [each.name for each in self.classes]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"classes: two are called {double!r}; rename one")
        if len(self.classes) > 1 and (open_ := next((each.name for each in self.classes if each.match.empty), None)):
            raise ValueError(f"classes: {open_!r} matches every device, the others' too; give it a match")
        return self

    @model_validator(mode="after")
    def _named_classes_exist(self) -> Self:
        known = {each.name for each in self.classes}
        for workload_name, workload in self.workloads.items():
            named = {
                "classes": workload.classes or (),
                "per_class": tuple(workload.per_class),
                "trials.also_measure": tuple(workload.trials.also_measure),
            }
            for where, names in named.items():
                if strange := sorted(set(names) - known):
                    listed = ", ".join(sorted(known))
                    raise ValueError(f"workloads.{workload_name}.{where}: no class {strange[0]!r}; known are {listed}")
        return self

    def workload(self, name: str) -> Workload:
        """Return a workload by name.

        Raises:
            NotFound: There is none of this name.
        """
        if name not in self.workloads:
            raise NotFound(f"fleet {self.fleet!r} has no workload {name!r}; it has {', '.join(sorted(self.workloads))}")
        return self.workloads[name]

    def classes_of(self, workload: str) -> tuple[DeviceClass, ...]:
        """Return the classes that run a workload."""
        chosen = self.workload(workload).classes
        return tuple(each for each in self.classes if chosen is None or each.name in chosen)


def load_fleet(path: Path) -> FleetFile:
    """Return the fleet that the file at `path` describes.

    Raises:
        ConfigurationError: Each fault with file, line, field and what to do.
    """
    return load_yaml(path, FleetFile)


def _variable(field: str) -> str:
    return f"THRESHER_BROKER_{field.upper()}"


def _said(exc: ValueError) -> str:
    errors = getattr(exc, "errors", None)
    return str(errors()[0]["msg"]).removeprefix("Value error, ") if errors else str(exc)
