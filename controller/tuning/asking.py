"""From candidates to trials: which devices of a class measure them, in which sittings, under which names. Pure.

Decides: the control of a class, and that sittings of one search are numbered on, so that no name is used twice. Leaves
out: the plan (`controller/trial/plan`), and sending it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.compress.search.classes.measurer import Reading, Readings, Subject
from controller.deploy.planning.trial_plan import trial_id
from controller.trial.plan import ClassPlan, PlannedVariant, TrialDevice, plan_trials
from controller.trial.settings import TrialSettings
from wire.artifact import ArtifactRef
from wire.trial import TrialRequest

MOST = 50
"""Variants of one plan: how many there are was decided before."""


@dataclass(frozen=True)
class Place:
    """What all trials of a search have in common. search: its name among deployments."""

    search: str
    workload: str
    rules: TrialSettings


def class_plan(
    place: Place, name: str, devices: Sequence[TrialDevice], controls: Sequence[Subject], subjects: Sequence[Subject]
) -> ClassPlan | str:
    """Return who of a class measures what, or why nobody can.

    Args:
        place: Of the search.
        name: Of the class.
        devices: Its devices, those that are away too.
        controls: Uncompressed forms of the model; the first that the class can run is its control.
        subjects: The variants.
    """
    rules = place.rules.model_copy(update={"most_variants": MOST, "also_measure": {}})
    present = [each.engines for each in devices if each.online]
    engines = frozenset.intersection(*present) if present else frozenset()
    fitting = [each for each in controls if each.variant.engine in engines]
    planned = [
        *(PlannedVariant(each.variant.name, "", each.variant.engine, baseline=True) for each in fitting[:1]),
        *(PlannedVariant(each.variant.name, "", each.variant.engine, rank=rank) for rank, each in enumerate(subjects)),
    ]
    plan = plan_trials(rules, devices, planned, place.search)
    return plan.impossible.get(name) or next(iter(plan.classes), None) or "no device of the class is known"


def requests_for(
    place: Place, plan: ClassPlan, bundles: Mapping[str, tuple[Subject, ArtifactRef]], last: Mapping[str, int]
) -> dict[str, list[TrialRequest]]:
    """Return device -> what it is asked to measure.

    Args:
        place: Of the search.
        plan: Of one class.
        bundles: Variant -> the variant and its bundle.
        last: Device -> the number of its last sitting in this search.
    """
    return {
        device: [
            _request(place, bundles[name], trial_id(place.search, device, name, number), number, name == plan.control)
            for number, sitting in enumerate(plan.sittings, start=last.get(device, 0) + 1)
            for name in sitting
        ]
        for device in plan.devices
    }


def _request(
    place: Place, bundle: tuple[Subject, ArtifactRef], trial: str, sitting: int, control: bool
) -> TrialRequest:
    variant, rules = bundle[0].variant, place.rules
    return TrialRequest(
        trial=trial,
        workload=place.workload,
        bundle=bundle[1],
        variant=variant.name,
        format=variant.format,
        engine=variant.engine,
        scenario=rules.scenario,
        settings=rules.scenario_settings,
        grade=rules.grade,
        threads=rules.threads,
        group=f"{place.search}.s{sitting}",
        control=control,
    )


def sitting_of(trial: str) -> int:
    """Return the number of a trial's sitting."""
    parts = trial.split(".")[1:]
    found = [part[1:] for part in parts if part.startswith("s") and part[1:].isdigit()]
    return int(found[0]) if found else 1


def unmeasured(name: str, subjects: Sequence[Subject], because: str, *, lacking: bool = False) -> Readings:
    """Return readings of variants that a class does not measure, with the reason."""
    return {
        (name, each.variant.name): Reading(because=because, lacking=lacking, again=not lacking) for each in subjects
    }
