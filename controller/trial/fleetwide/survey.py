"""What the trials of one class say of the whole class, also of devices that did not measure. Pure.

Decides: which records count where, what is refused and why, what stands out and its likely cause. Void records count in
no prediction, yet still show which device is slow. Leaves out: words and numbers for people (`document`), the database.

    survey = survey_class("pi5", records)
    survey.variants[0].prediction.p95_ns.upper
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from controller.trial.fleetwide import effects
from controller.trial.fleetwide import thresholds as at
from controller.trial.fleetwide.causes import Diagnosis, diagnose, slow_card
from controller.trial.fleetwide.cells import (
    Cells,
    cells_of,
    control_first,
    control_of,
    has_speed,
    is_control,
    is_usable,
    values_of,
)
from controller.trial.fleetwide.components import Model, fit
from controller.trial.fleetwide.effects import Certainty, Deviation, Normalised
from controller.trial.fleetwide.prediction import Prediction, predict
from controller.trial.fleetwide.readings import Readings, read
from wire.statistics import fewest_samples
from wire.trial import Grade, Scenario, ScenarioSettings, TrialRecord

FindingKind = Literal["slow_device", "fast_device", "control_alone", "variant_there", "slow_loads", "void"]


@dataclass(frozen=True)
class Finding:
    """A device that stands out. `variant`: which one does there, where it is not all of them."""

    kind: FindingKind
    device: str
    certainty: Certainty
    diagnosis: Diagnosis
    variant: str | None = None
    ratio: float | None = None
    agreeing: int = 0
    others: int = 0


@dataclass(frozen=True)
class VariantSurvey:
    """One variant over the class; without `model` and `prediction`, `because` says what is missing.

    `without_slow`: the prediction once the devices that are named slow are left out; None where nobody is.
    """

    variant: str
    control: bool
    devices: tuple[str, ...]
    processes: int
    queries: int
    because: str = ""
    model: Model | None = None
    prediction: Prediction | None = None
    normalised: Normalised | None = None
    without_slow: Prediction | None = None


@dataclass(frozen=True)
class Way:
    """How was measured; only what was measured alike is put together.

    `threads`: of the engine, where one device measured with several numbers of them; else the device's own.
    """

    scenario: Scenario
    settings: ScenarioSettings
    grade: Grade
    serving_policy: str = "pause"
    threads: int | None = None


@dataclass(frozen=True)
class ClassSurvey:
    """One class, measured in one way. `because`: why nothing is said of its fleet.

    `shared`: devices are emulated or all of one host, so that no difference is one between boards. `factors`: device ->
    its latency over the class's, by the control and as the median over all variants.
    """

    device_class: str
    way: Way
    devices: tuple[str, ...]
    emulated: bool
    shared: bool
    because: str = ""
    variants: tuple[VariantSurvey, ...] = ()
    findings: tuple[Finding, ...] = ()
    factors: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def slow(self) -> frozenset[str]:
        """The devices that are named slow as a whole."""
        return _slow(self.findings)


def survey_classes(
    records: Iterable[tuple[str, TrialRecord]], hosts: Mapping[str, str] | None = None
) -> list[ClassSurvey]:
    """Return the surveys of all classes, one for each way in which a class measured.

    Args:
        records: (device class, record) of one deployment.
        hosts: Device -> what names the machine that it runs on, where that is known.
    Raises:
        MalformedMessage: Samples cannot be unpacked.
    """
    classes: defaultdict[str, list[TrialRecord]] = defaultdict(list)
    for device_class, record in records:
        classes[device_class].append(record)
    return [
        survey_class(name, way, alike, hosts)
        for name in sorted(classes)
        for way, alike in sorted(_ways(classes[name]).items(), key=lambda each: str(each[0]))
    ]


def survey_class(
    device_class: str, way: Way, records: Sequence[TrialRecord], hosts: Mapping[str, str] | None = None
) -> ClassSurvey:
    """Return the survey of one class.

    Args:
        device_class: Its name.
        way: How all of them were measured.
        records: At least one.
        hosts: As of `survey_classes`.
    """
    usable = cells_of([record for record in records if is_usable(record)])
    devices = tuple(sorted({record.device for record in records}))
    emulated = any(record.emulated for record in records)
    survey = ClassSurvey(device_class, way, devices, emulated, emulated or _one_host(devices, hosts or {}))
    findings = () if len(devices) < at.FEWEST_DEVICES else tuple(_findings(records, usable, survey.shared))
    because = _refusal(devices, {device for row in usable.values() for device in row})
    variants = [] if because else control_first(usable)
    control = control_of(usable)
    return replace(
        survey,
        because=because,
        variants=tuple(_variant(usable, variant, _slow(findings)) for variant in variants),
        findings=findings,
        factors={} if control is None else effects.factors(_table(usable), control),
    )


def _ways(records: Sequence[TrialRecord]) -> dict[Way, list[TrialRecord]]:
    ways: defaultdict[Way, list[TrialRecord]] = defaultdict(list)
    threads: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for record in records:
        threads[record.device, record.variant].add(record.threads)
    swept = any(len(numbers) > 1 for numbers in threads.values())
    for record in records:
        policy = str(record.conditions.get("serving_policy") or "pause")[:16]
        number = record.threads if swept else None
        ways[Way(record.scenario, record.settings, record.grade, policy, number)].append(record)
    return ways


def _one_host(devices: Sequence[str], hosts: Mapping[str, str]) -> bool:
    known = {hosts.get(device) or device for device in devices}
    return len(devices) > 1 and len(known) == 1


def _slow(findings: Sequence[Finding]) -> frozenset[str]:
    return frozenset(each.device for each in findings if each.kind == "slow_device")


def _table(cells: Cells) -> effects.Table:
    return {variant: values_of(row) for variant, row in cells.items() if len(row) > 1}


def _refusal(devices: Sequence[str], counted: set[str]) -> str:
    if len(counted) >= at.FEWEST_DEVICES:
        return ""
    more = "how devices differ takes two or more: raise trials.devices_per_class, or enrol more of them"
    if not counted:
        return f"no usable trial on {', '.join(devices)}; {more}"
    void = len(devices) - len(counted)
    return f"only {next(iter(counted))} has usable trials{f' ({void} more have none)' if void else ''}; {more}"


def _variant(cells: Cells, variant: str, slow: frozenset[str]) -> VariantSurvey:
    row = [cells[variant][device] for device in sorted(cells[variant])]
    seen = VariantSurvey(
        variant,
        is_control(cells[variant]),
        tuple(cell.device for cell in row),
        sum(len(cell.processes) for cell in row),
        sum(process.queries for cell in row for process in cell.processes),
    )
    if len(row) < at.FEWEST_DEVICES:
        return replace(seen, because=f"only {row[0].device} has a usable trial of it")
    model = fit(row)
    tails = all(cell.single for cell in row) and seen.queries >= fewest_samples(0.95)
    control = control_of(cells)
    beyond = None
    if control is not None and not seen.control:
        beyond = effects.normalised(values_of(cells[variant]), values_of(cells[control]))
    healthy = [cell for cell in row if cell.device not in slow]
    without = predict(fit(healthy), healthy, tails=tails) if at.FEWEST_DEVICES <= len(healthy) < len(row) else None
    whole = predict(model, row, tails=tails)
    return replace(seen, model=model, prediction=whole, normalised=beyond, without_slow=without)


def _findings(records: Sequence[TrialRecord], usable: Cells, shared: bool) -> list[Finding]:
    """Return what stands out; a device whose trials are void shows by them, where it has no usable ones."""
    readings = _readings(records)
    every = cells_of([record for record in records if has_speed(record)])
    cells = {variant: {**row, **usable.get(variant, {})} for variant, row in every.items()}
    control = control_of(cells)
    found = [] if control is None else [
        _of_deviation(each, readings, shared)
        for each in effects.deviations(_table(cells), control)
    ]  # fmt: skip
    named = {each.device for each in found if each.kind == "slow_device"}
    found += [_void(device, readings, shared) for device in _all_void(every, usable) if device not in named]
    return found if shared else found + _slow_loads(readings)


def _readings(records: Sequence[TrialRecord]) -> dict[str, Readings]:
    by_device: defaultdict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        by_device[record.device].append(record)
    return {device: read(theirs) for device, theirs in by_device.items()}


def _of_deviation(each: Deviation, readings: Mapping[str, Readings], shared: bool) -> Finding:
    kinds: dict[str, FindingKind] = {"control": "control_alone", "variant": "variant_there"}
    kind: FindingKind = kinds.get(each.kind) or ("slow_device" if each.log > 0 else "fast_device")
    whole = each.kind == "device"
    cause = _cause(each.device, readings, shared, slower=each.log > 0, whole=whole)
    variant = None if whole else each.variant
    return Finding(kind, each.device, each.certainty, cause, variant, each.ratio, each.agreeing, each.others)


def _cause(
    device: str, readings: Mapping[str, Readings], shared: bool, *, slower: bool, whole: bool = True
) -> Diagnosis:
    if shared:
        return Diagnosis("shared")
    return diagnose(readings[device], _rest(device, readings), slower=slower, all_variants=whole)


def _rest(device: str, readings: Mapping[str, Readings]) -> list[Readings]:
    return [each for name, each in readings.items() if name != device]


def _all_void(every: Cells, usable: Cells) -> list[str]:
    measured = {device for row in every.values() for device in row}
    return sorted(measured - {device for row in usable.values() for device in row})


def _void(device: str, readings: Mapping[str, Readings], shared: bool) -> Finding:
    return Finding("void", device, "likely", _cause(device, readings, shared, slower=True))


def _slow_loads(readings: Mapping[str, Readings]) -> list[Finding]:
    found = []
    for device in sorted(readings):
        diagnosis = slow_card(readings[device], _rest(device, readings))
        if diagnosis is not None:
            certainty: Certainty = "likely" if len(readings) >= at.FEW_DEVICES else "possible"
            found.append(Finding("slow_loads", device, certainty, diagnosis))
    return found
