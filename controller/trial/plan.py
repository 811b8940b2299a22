"""Plan trials: which devices of a class measure which variants, and what that costs, before anything starts. Pure.

Decides: the control of each class, which variants ride, which devices measure (the same ones each time, those that are
there first), and how variants are split into sittings where one pause of serving has no room for all. Leaves out: what
a variant costs (`cost`), documents and topics (the engine).
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.trial.cost import Share, TrialCost, cost_of, sitting_size, sittings_of, too_long
from controller.trial.settings import TrialSettings


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
    """A device that could measure. `serving`: it serves something now. Devices of one `host_id` take turns."""

    device: str
    device_class: str
    engines: frozenset[str]
    online: bool = True
    serving: bool = False
    host_id: str = ""


@dataclass(frozen=True)
class ClassPlan:
    """What one class measures on each of `devices`: in every sitting the control first, and variants beside it."""

    device_class: str
    control: str
    sittings: tuple[tuple[str, ...], ...]
    devices: tuple[str, ...]
    screened_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[str, ...]:
        """All that is measured, the control first."""
        return tuple(dict.fromkeys(name for sitting in self.sittings for name in sitting))


@dataclass(frozen=True)
class TrialPlan:
    """The plan of all classes; `impossible` names the classes that cannot measure, and why."""

    classes: tuple[ClassPlan, ...]
    cost: TrialCost
    impossible: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def plan_trials(
    settings: TrialSettings, devices: Sequence[TrialDevice], variants: Sequence[PlannedVariant], salt: str = ""
) -> TrialPlan:
    """Return who measures what.

    Args:
        settings: Grade, scenario, devices per class, most variants, what to measure anyway, what serving may lose.
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
    cost = cost_of(settings, _shares(plans, devices))
    return TrialPlan(tuple(plans), cost, impossible, _warnings(settings, plans, cost))


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
    pauses = settings.policy == "pause" and any(device.serving for device in measuring)
    size = sitting_size(settings) if pauses else None
    if size is not None and size < 2:
        return too_long(settings)
    sittings = sittings_of(control.name, [each.name for each in chosen], size)
    return ClassPlan(name, control.name, sittings, tuple(device.device for device in measuring), out)


def _shares(plans: Sequence[ClassPlan], devices: Sequence[TrialDevice]) -> list[Share]:
    known = {device.device: device for device in devices}
    return [
        Share(
            device=name,
            host_id=known[name].host_id,
            serving=known[name].serving,
            runs=sum(map(len, plan.sittings)),
            longest_sitting=max(map(len, plan.sittings)),
        )
        for plan in plans
        for name in plan.devices
    ]


def _warnings(settings: TrialSettings, plans: Sequence[ClassPlan], cost: TrialCost) -> tuple[str, ...]:
    found = [
        f"class {plan.device_class}: measured in {len(plan.sittings)} sittings, each with the control, so that no "
        f"pause of serving takes longer than {settings.longest_pause_s:g} s"
        for plan in plans
        if len(plan.sittings) > 1
    ]
    if cost.wall_s > settings.timeout_s:
        found.append(
            f"measuring takes about {cost.wall_s:.0f} s and trials.timeout_s is {settings.timeout_s:g}: records that "
            "come later do not count"
        )
    if settings.window is not None:
        found.append(f"devices measure from {settings.window} of their local time and wait until then")
    if settings.threads is not None:
        found.append(f"measured with {settings.threads} threads; a device serves with those of its own configuration")
    return tuple(found)
