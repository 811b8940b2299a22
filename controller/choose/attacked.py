"""The limit on what a variant may lose under attack: inputs that were changed, through its own graph, so that it errs.

Decides: that the loss is held against the control under the same attack, sample by sample, on a bound as the loss on
plain inputs is. Leaves out: the attack (`controller/compress/robustness.py`), and whether plain inputs are answered as
well (`limits`). Pure.
"""

from math import inf

from controller.choose.goals import Goals
from controller.choose.measured import Measured
from controller.choose.paired import PairedTable, loss_bound, samples_needed, smallest_resolvable
from controller.choose.wording import loss_text
from controller.errors import ConfigurationError

LIMIT = "max_attacked_drop_ratio"


def check_attack(goals: Goals, samples: int, classifies: bool) -> None:
    """Refuse a limit under attack that cannot be decided; call it before anything is measured.

    Args:
        goals: Of one class.
        samples: How many are attacked.
        classifies: Whether the model is a classifier.
    Raises:
        ConfigurationError: It is none, or the limit is smaller than what so many samples can show.
    """
    limit = goals.max_attacked_drop_ratio
    if limit is None:
        return
    if not classifies:
        raise ConfigurationError(f"goals.{LIMIT}: attacks are made on classifiers, and the model is none: leave it out")
    smallest = smallest_resolvable(max(samples, 1), goals.confidence)
    if goals.decide_on == "bound" and limit < smallest:
        raise ConfigurationError(
            f"goals.{LIMIT}: {limit:g} cannot be shown with {samples} attacked samples, the smallest loss that they "
            f"can exclude is {smallest:.4f}: raise the limit, give {samples_needed(limit, goals.confidence)} or more "
            "samples, or set decide_on: point_estimate"
        )


def broken(goals: Goals, control: Measured, candidate: Measured) -> tuple[str, float | None] | None:
    """Return what breaks the limit, and value / limit where the value is known; None where it is kept or not set."""
    limit = goals.max_attacked_drop_ratio
    if limit is None:
        return None
    sides = control.attacked, candidate.attacked
    answers = [None if each is None else each.correct for each in sides]
    if answers[0] is None or answers[1] is None:
        lacking = control if answers[0] is None else candidate
        return f"{lacking.variant} was not attacked: {lacking.not_attacked or 'no reason given'}", None
    loss = loss_bound(PairedTable.of(answers[0], answers[1]), goals.confidence)
    value = loss.upper if goals.decide_on == "bound" else loss.lost
    if value <= limit:
        return None
    text = f"under attack (epsilon {goals.attack_epsilon:g}): {loss_text(loss, 'points')}"
    return f"{text}; the limit is {100 * limit:.2f} points", value / limit if limit else inf
