"""What records say of candidates: times over the control's of the same sitting, or why there is none. Pure.

Decides: that a variant is compared with the control that took turns with it and with no other, that devices count
alike, and that one device which cannot run a variant speaks for its class. Leaves out: what counts of a record
(`controller/trial/summary`).
"""

import statistics
from collections.abc import Mapping, Sequence

from controller.choose.measured import PAUSE_SPENT, TrialSummary
from controller.compress.search.classes.measurer import Reading, Readings
from controller.fleet.views import TrialView
from controller.store.trials import CANCELED
from controller.trial.summary import summarise

GOLDEN = "golden outputs differ"


def readings_of(views: Sequence[TrialView]) -> Readings:
    """Return a reading of each variant that came back, and of each that was called off.

    A trial that is still under way says nothing: its variant has no reading, unless another trial gave one.
    """
    summaries: dict[tuple[str, str], list[TrialSummary]] = {}
    controls: dict[str, TrialSummary] = {}
    away = dict[tuple[str, str], str]()
    for view in views:
        if view.record is None:
            if view.stage == CANCELED:
                away[view.device_class, view.variant] = view.device
            continue
        found = summarise(view.record, None)
        if view.control:
            controls[found.sitting] = found
        else:
            summaries.setdefault((view.device_class, view.variant), []).append(found)
    readings = {key: reading_of(found, controls) for key, found in summaries.items()}
    left = {key: device for key, device in away.items() if key not in readings}
    gone = {
        key: Reading(because=f"{device} went away or sent nothing in time", again=True) for key, device in left.items()
    }
    return {**gone, **readings}


def reading_of(found: Sequence[TrialSummary], controls: Mapping[str, TrialSummary]) -> Reading:
    """Return what a class's trials of one variant say together."""
    for each in found:
        if each.outcome != "measured" and not each.because.startswith(PAUSE_SPENT):
            return Reading(
                because=f"{each.outcome} on {each.device}: {each.because or 'no reason given'}", lacking=True
            )
        if GOLDEN in each.void:
            return Reading(because=f"answers otherwise on {each.device} than here: {GOLDEN}", lacking=True)
    pairs = [
        (each, control)
        for each in found
        if (control := controls.get(each.sitting)) is not None and usable(each) and usable(control)
    ]
    if not pairs:
        return Reading(because=_void(found, controls))
    return Reading(
        ratio=_over_devices({each.device: _ratio(each, control) for each, control in pairs}),
        control_ms=_over_devices({each.device: _median_ms(control) for each, control in pairs}),
        devices=tuple(sorted({each.device for each, _ in pairs})),
    )


def usable(each: TrialSummary) -> bool:
    """Tell whether a trial's speed counts."""
    return each.outcome == "measured" and not each.void and bool(each.process_medians_ns)


def _ratio(each: TrialSummary, control: TrialSummary) -> float:
    return _median_ms(each) / _median_ms(control)


def _median_ms(each: TrialSummary) -> float:
    return statistics.geometric_mean(each.process_medians_ns) / 1e6


def _over_devices(values: Mapping[str, float]) -> float:
    return statistics.geometric_mean(values.values())


def _void(found: Sequence[TrialSummary], controls: Mapping[str, TrialSummary]) -> str:
    last = found[-1]
    if not usable(last):
        reasons = ", ".join(last.void) or last.because or "no samples"
        return f"void on {last.device}: {reasons}"
    control = controls.get(last.sitting)
    reasons = "it sent no record" if control is None else ", ".join(control.void) or control.because or "no samples"
    return f"nothing to compare with on {last.device}: the control of its sitting: {reasons}"
