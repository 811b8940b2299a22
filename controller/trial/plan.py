"""Plan trials: which devices of a class measure which variants, and what that costs, before anything starts. Pure.

Decides: the control of each class, which variants ride, which devices measure (the same ones each time, those that are
there first), device-minutes and seconds of serving lost. Leaves out: documents and topics (the engine).
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.trial.settings import TrialSettings

TIMED_S = {"quick": 3.0, "normal": 5 * 13.0, "ranking": 5 * 63.0}
"""Warm-up and timed runs per variant, all processes together [s]; `quick` may take 6 s and rarely takes half."""
PROCESSES = {"quick": 4, "normal": 6, "ranking": 6}
"""Fresh processes per variant: the replicates, and one for memory and accuracy."""
PROCESS_S = 1.5
"""Start and load of a process [s]; a first value, from a two-core x86 host."""


@dataclass(frozen=True)
class PlannedVariant:
    """A variant that could be measured. `rank`: its place in the host's screen, lower is better."""

    name: str
    recipe: str
    engine: str
    baseline: bool = False
    rank: float = 0.0


@dataclass(frozen=True)
class TrialDevice:
    """A device that could measure. `serving`: it runs this workload now. Devices of one `host_id` take turns."""

    device: str
    device_class: str
    engines: frozenset[str]
    online: bool = True
    serving: bool = False
    host_id: str = ""


@dataclass(frozen=True)
class ClassPlan:
    """What one class measures: on each of `devices`, `variants` and first the control among them."""

    device_class: str
    control: str
    variants: tuple[str, ...]
    devices: tuple[str, ...]
    screened_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialCost:
    """Estimated, before the start. `wall_s` lets devices of one host take turns [s]."""

    device_minutes: float
    serving_lost_s: float
    wall_s: float

    def __str__(self) -> str:
        return (
            f"about {self.device_minutes:.1f} device-minutes, {self.serving_lost_s:.0f} s of serving lost, "
            f"{self.wall_s / 60:.1f} min until the last record"
        )


@dataclass(frozen=True)
class TrialPlan:
    """The plan of all classes; `impossible` names the classes that cannot measure, and why."""

    classes: tuple[ClassPlan, ...]
    cost: TrialCost
    impossible: Mapping[str, str] = field(default_factory=dict)


def plan_trials(
    settings: TrialSettings, devices: Sequence[TrialDevice], variants: Sequence[PlannedVariant], salt: str = ""
) -> TrialPlan:
    """Return who measures what.

    Args:
        settings: Grade, devices per class, most variants, what to measure anyway.
        devices: Every device of the classes that run the workload.
        variants: All that passed on the host. The first baseline that a class can run is its control.
        salt: E.g. the deployment's name: other salts choose other devices, the same salt the same.
    """
    by_class: defaultdict[str, list[TrialDevice]] = defaultdict(list)
    for device in devices:
        by_class[device.device_class].append(device)
    plans: list[ClassPlan] = []
    impossible: dict[str, str] = {}
    for name in sorted(by_class):
        found = _class_plan(settings, name, _measuring(settings, by_class[name], salt), variants)
        if isinstance(found, str):
            impossible[name] = found
        else:
            plans.append(found)
    return TrialPlan(tuple(plans), _cost(settings, plans, devices), impossible)


def variant_seconds(settings: TrialSettings) -> float:
    """Return how long one variant keeps one device busy [s], estimated."""
    return TIMED_S[settings.grade] + PROCESSES[settings.grade] * PROCESS_S


def _measuring(settings: TrialSettings, members: Sequence[TrialDevice], salt: str) -> list[TrialDevice]:
    present = [member for member in members if member.online]
    present.sort(key=lambda each: (hashlib.sha256(f"{salt}\n{each.device}".encode()).hexdigest(), each.device))
    return present[: settings.devices_per_class]


def _class_plan(
    settings: TrialSettings, name: str, measuring: Sequence[TrialDevice], variants: Sequence[PlannedVariant]
) -> ClassPlan | str:
    if not measuring:
        return "no device of the class is present"
    engines = frozenset.intersection(*(device.engines for device in measuring))
    runnable = [variant for variant in variants if variant.engine in engines]
    control = next((variant for variant in runnable if variant.baseline), None)
    if control is None:
        return f"no fp32 baseline runs on its engines ({', '.join(sorted(engines)) or 'none'})"
    rest = [variant for variant in runnable if variant is not control]
    rest.sort(key=lambda each: (not settings.wants(name, each.name, each.recipe), each.rank, each.name))
    chosen, dropped = rest[: settings.most_variants], rest[settings.most_variants :]
    out = {each.name: f"engine {each.engine} is not there" for each in variants if each.engine not in engines}
    out |= {each.name: f"screened out: only {settings.most_variants} variants are measured" for each in dropped}
    names = (control.name, *(each.name for each in chosen))
    return ClassPlan(name, control.name, names, tuple(device.device for device in measuring), out)


def _cost(settings: TrialSettings, plans: Sequence[ClassPlan], devices: Sequence[TrialDevice]) -> TrialCost:
    known = {device.device: device for device in devices}
    busy_s: dict[str, float] = {}
    for plan in plans:
        busy_s |= dict.fromkeys(plan.devices, len(plan.variants) * variant_seconds(settings))
    by_host: defaultdict[str, float] = defaultdict(float)
    for name, seconds in busy_s.items():
        by_host[known[name].host_id or name] += seconds
    lost = sum(seconds for name, seconds in busy_s.items() if known[name].serving and settings.policy == "pause")
    return TrialCost(sum(busy_s.values()) / 60, lost, max(by_host.values(), default=0.0))
