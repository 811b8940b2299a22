"""The fleet-wide view as plain values and sentences: for the report, for `controller trial fleet`.

Decides: units (ms, shares, spreads as ratios), wording, and which bounds are too wide to be given. Leaves out: the
statistics, tables and pages.
"""

from typing import Any

from controller.choose.measured import Estimate
from controller.trial.fleetwide import thresholds as at
from controller.trial.fleetwide.causes import Cause
from controller.trial.fleetwide.components import Component, Model
from controller.trial.fleetwide.effects import Normalised
from controller.trial.fleetwide.survey import ClassSurvey, Finding, VariantSurvey

Document = dict[str, Any]

SHARED = (
    "{} share one processor: what differs between them is settings, turns and chance. Nothing here is "
    "about boards, and no cause is sought in hardware."
)
HOLD = "upper bounds hold with 95 %, lower ones with about 90 %"
"""As simulated for p95, 2 to 10 devices, normal and uniform, with and without a tail: 95 to 99 %, and 85 to 95 %."""
CAUSES: dict[Cause, str] = {
    "other_hardware": "other hardware than the rest of the class",
    "other_engine": "another engine than the rest of the class",
    "weak_supply": "a weak power supply",
    "bad_cooling": "bad cooling",
    "other_clocks": "other clocks",
    "busy": "a busy processor",
    "slow_card": "a slow memory card",
    "unknown": "its conditions do not say",
    "unknown_there": "the conditions do not say",
    "shared": "not sought: the devices share a processor",
}


def class_document(survey: ClassSurvey) -> Document:
    """Return the survey of one class as JSON-able values; latencies [ms], spreads and shares as ratios."""
    return {
        "device_class": survey.device_class,
        "scenario": survey.way.scenario,
        "settings": survey.way.settings.model_dump(mode="json", exclude_defaults=True),
        "grade": survey.way.grade,
        "serving_policy": survey.way.serving_policy,
        "threads": survey.way.threads,
        "devices": list(survey.devices),
        "emulated": survey.emulated,
        "shared": survey.shared,
        "because": survey.because,
        "notes": _notes(survey),
        "device_factors": [
            {"device": device, "control_ratio": control, "shared_ratio": shared}
            for device, (control, shared) in survey.factors.items()
        ],
        "set_apart": sorted(survey.slow),
        "variants": [_variant(each) for each in survey.variants],
        "outliers": [_finding(each) for each in survey.findings],
    }


def _notes(survey: ClassSurvey) -> list[str]:
    notes = [SHARED.format("Emulated devices" if survey.emulated else "Devices of one host")] if survey.shared else []
    if survey.way.serving_policy == "coexist":
        notes.append("Measured beside serving (coexist): comparable with each other and with nothing else.")
    if survey.because:
        return notes
    devices = max((len(each.devices) for each in survey.variants), default=0)
    processes = max((each.processes for each in survey.variants), default=0)
    notes.append(f"Rests on {devices} devices and {processes} processes a variant; {HOLD}.")
    if devices < at.FEW_DEVICES:
        notes.append(
            f"{devices} devices say little of how the others differ: the bounds are wide because of that; more "
            "devices a class (trials.devices_per_class) narrow them. One is named only if it stands alone by 15 %."
        )
    if any(each.model is not None and not each.model.process_apart for each in survey.variants):
        notes.append("One process a device: what processes differ by is counted as difference between devices.")
    return notes


def _variant(each: VariantSurvey) -> Document:
    known: Document = {
        "variant": each.variant,
        "control": each.control,
        "devices": list(each.devices),
        "processes": each.processes,
        "queries": each.queries,
        "because": each.because,
        "p50_ms": None,
        "p95_ms": None,
        "device_p50_ms": None,
        "p95_without_slow_ms": None,
        "variance": [],
        "correlation": None,
        "speed_up": _normalised(each.normalised),
    }
    if each.model is None or each.prediction is None:
        return known
    found, without_slow = each.prediction, each.without_slow
    without = "p95 needs 59 single queries or more; here samples are fewer, or means of several calls"
    return known | {
        "because": "" if found.p95_ns else without,
        "p50_ms": _milliseconds(found.p50_ns),
        "p95_ms": _milliseconds(found.p95_ns),
        "device_p50_ms": _milliseconds(found.device_p50_ns),
        "p95_without_slow_ms": _milliseconds(without_slow.p95_ns) if without_slow else None,
        "variance": _variance(each.model),
        "correlation": round(each.model.correlation, 3),
    }


def _milliseconds(estimate: Estimate | None) -> dict[str, float | None] | None:
    """Return value and bounds [ms]; a bound that says nothing is null."""
    if estimate is None:
        return None
    upper = None if estimate.upper > at.LARGEST_BOUND_RATIO * estimate.value else estimate.upper / 1e6
    lower = None if estimate.lower * at.LARGEST_BOUND_RATIO < estimate.value else estimate.lower / 1e6
    return {"value": estimate.value / 1e6, "lower": lower, "upper": upper}


def _variance(model: Model) -> list[Document]:
    total = sum(each.variance for each in model.components)
    parts = [each for each in model.components if each.name != "process" or model.process_apart]
    return [_part(each, total) for each in parts]


def _part(each: Component, total: float) -> Document:
    return {
        "name": each.name,
        "spread_ratio": each.variance**0.5,
        "lower_ratio": each.lower**0.5,
        "upper_ratio": each.upper**0.5 if each.upper**0.5 < at.LARGEST_BOUND_RATIO else None,
        "share_ratio": each.variance / total if total > 0 else 0.0,
        "truncated": each.truncated,
    }


def _normalised(found: Normalised | None) -> Document | None:
    if found is None:
        return None
    given = found.speed_up.upper / found.speed_up.lower <= at.LARGEST_BOUND_RATIO**2
    return {
        "ratio": found.speed_up.value,
        "lower": found.speed_up.lower if given else None,
        "upper": found.speed_up.upper if given else None,
        "spread_ratio": found.spread,
        "spread_lower_ratio": found.lower,
        "spread_upper_ratio": found.upper if found.upper < at.LARGEST_BOUND_RATIO else None,
        "devices": found.devices,
    }


def _finding(each: Finding) -> Document:
    return {
        "kind": each.kind,
        "device": each.device,
        "variant": each.variant,
        "ratio": each.ratio,
        "certainty": each.certainty,
        "agreeing": each.agreeing,
        "others": each.others,
        "cause": each.diagnosis.cause,
        "evidence": list(each.diagnosis.evidence),
        "remedy": each.diagnosis.remedy,
        "text": sentence(each),
    }


def sentence(each: Finding) -> str:
    """Return what stands out and its likely cause, in words; the remedy is said apart."""
    cause = CAUSES[each.diagnosis.cause]
    if not each.diagnosis.evidence:
        return f"{_what(each)} Cause: {cause}."
    surely = "Likely" if each.certainty == "likely" else "Possible"
    return f"{_what(each)} {surely} cause: {cause} ({'; '.join(each.diagnosis.evidence)})."


def _what(each: Finding) -> str:
    sure = each.certainty == "likely"
    if each.kind == "slow_loads":
        return f"{each.device} is slow to load from storage."
    if each.kind == "void":
        return f"Every trial of {each.device} is void: it counts in no number here."
    factor = _factor(each.ratio or 1.0)
    if each.kind == "variant_there":
        whose = "the model there, not the device" if sure else "it may be the model there"
        return f"{each.variant} is {factor} on {each.device} alone, beyond what the control is there: {whose}."
    if each.kind == "control_alone":
        shared = f"{each.agreeing} of {each.others} other variants are"
        return f"The control {each.variant} is {factor} on {each.device}, and only {shared}: compare nothing there."
    others = f"the control and {each.agreeing} of {each.others} other variants" if each.others else "the control alone"
    whose = "the device, not a model" if sure else "it may be the device"
    return f"{each.device} is {factor} than its class, by {others}: {whose}."


def _factor(ratio: float) -> str:
    return f"{ratio:.2f}x slower" if ratio >= 1 else f"{1 / ratio:.2f}x faster"
