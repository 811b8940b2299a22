"""What measuring for a search costs, and how much of its device-minutes is spent. Pure.

Decides: that every trial that is asked counts as long as the planner reckons, whatever it took: so a budget means the
same on a busy device. Trials that were called off count nothing. Leaves out: what a variant takes (`trial/cost`).
"""

from controller.trial.cost import sitting_size, sittings_of, variant_seconds
from controller.trial.settings import TrialSettings


def minutes_of(rules: TrialSettings, trials: int) -> float:
    """Return the device-minutes of so many trials."""
    return trials * variant_seconds(rules) / 60


def sitting_minutes(rules: TrialSettings, variants: int, devices: int, *, serving: bool) -> float:
    """Return what the control and so many variants cost on so many devices; on some that serve, in pauses."""
    size = sitting_size(rules) if serving and rules.policy == "pause" else None
    if size is not None and size < 2:
        return float("inf")
    sittings = sittings_of("control", [str(number) for number in range(variants)], size)
    return minutes_of(rules, devices * sum(map(len, sittings)))


def longest_pause_text(rules: TrialSettings) -> str:
    """Return what serving loses meanwhile."""
    if rules.policy == "coexist":
        return "devices go on serving meanwhile"
    return f"devices that serve pause for at most {rules.longest_pause_s:g} s at a time"
