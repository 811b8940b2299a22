"""What a deploy would do, from what is known now: nothing is made, sent or written.

Decides: the words and numbers of the preview. Leaves out: doing any of it. Devices count as they were last seen;
variants count as if every recipe succeeded, since that is found out only by making them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from controller.compress.passes.converted import out_of_reach
from controller.compress.variant import BASELINE, ENGINE_OF, Wanted, recipe_document
from controller.deploy.context import by_class
from controller.deploy.planning.expected import expected_variants, left_out_lines
from controller.deploy.planning.trial_plan import make_plan
from controller.deploy.settings import DeploySettings
from controller.fleet.views import DeviceView
from controller.rollout.assign import Candidate, assign_waves
from controller.store import tables
from controller.trial.cost import device_cost
from controller.trial.plan import TrialPlan


@dataclass(frozen=True)
class Preview:
    """A deploy before it happens. `waves`: wave by wave, the devices that are offered the new bundle.

    `cost`: of the devices that are known. `unpriced`: classes that it leaves out, since none of their devices is known
    to be there; `device_cost`: what each device that measures takes, so that nobody takes no cost for none.
    `left_out`: variants that are not made, since no device has their engine. `out_of_reach`: those that begin with a
    conversion that cannot be made now.
    """

    model: str
    recipes: tuple[str, ...]
    classes: dict[str, dict[str, Any]]
    cost: dict[str, float]
    cost_text: str
    unpriced: tuple[str, ...]
    device_cost: dict[str, float]
    device_cost_text: str
    how: str
    waves: list[list[str]]
    left_out: dict[str, str]
    out_of_reach: dict[str, str]
    warnings: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the preview as plain values."""
        return {name: value for name, value in asdict(self).items() if not name.endswith("cost_text")}


def preview(settings: DeploySettings, views: list[DeviceView]) -> Preview:
    """Return what a deploy of these settings to these devices would make, measure and roll out."""
    wanted, left_out = expected_variants(settings, views)
    lacking = _out_of_reach(settings, wanted)
    rows = _expected_rows(settings, [one for one in wanted if one.name not in lacking])
    plan = make_plan(settings, views, rows, "preview")
    each = device_cost(settings.workload.trials, min(len(rows) - 1, settings.workload.trials.most_variants))
    groups = by_class(views, settings)
    members = [Candidate(view.device, name, view.online) for name, group in groups.items() for view in group]
    waves = assign_waves(settings.workload.rollout, "preview", members)
    return Preview(
        model=settings.model.identity,
        recipes=tuple(recipe.name for recipe in settings.recipes),
        classes=_classes(plan, groups),
        cost=asdict(plan.cost),
        cost_text=str(plan.cost),
        unpriced=tuple(name for name, group in groups.items() if not any(view.online for view in group)),
        device_cost=asdict(each),
        device_cost_text=str(each),
        how=_how(settings),
        waves=[
            sorted(device for device, number in waves.items() if number == wave)
            for wave in range(len(settings.workload.rollout.waves))
        ],
        left_out=left_out,
        out_of_reach=lacking,
        warnings=(*(f"class {name}: {why}" for name, why in _impossible(plan, groups).items()), *plan.warnings),
    )


def preview_lines(found: Preview) -> list[str]:
    """Return the preview as lines for people."""
    lines = [f"model {found.model}, {len(found.recipes)} recipes: {', '.join(found.recipes)}"]
    for name, group in found.classes.items():
        emulated = " (emulated)" if group["emulated"] else ""
        lines.append(f"class {name}{emulated}: {len(group['devices'])} devices, {group['online']} online")
        if group["measured_on"]:
            lines.append(f"  measured on {', '.join(group['measured_on'])}: {', '.join(group['variants'])}")
    lines.append(f"measured: {found.how}")
    lines += left_out_lines(found.left_out) + left_out_lines(found.out_of_reach)
    lines += _cost_lines(found)
    for number, wave in enumerate(found.waves):
        lines.append(f"wave {number + 1}: {', '.join(wave) or 'no device'}")
    return lines + [f"warning: {warning}" for warning in found.warnings]


def _cost_lines(found: Preview) -> list[str]:
    lines = [f"measuring costs {found.cost_text}"] if len(found.unpriced) < len(found.classes) else []
    if found.unpriced:
        also = " beside that" if lines else ""
        lines.append(
            f"not known yet{also}: what {', '.join(found.unpriced)} costs; every device that measures takes "
            f"{found.device_cost_text}"
        )
    return lines


def _out_of_reach(settings: DeploySettings, wanted: Sequence[Wanted]) -> dict[str, str]:
    """Return the variants that begin with a conversion that there is not and that cannot be made, each with why."""
    reasons = {}
    for one in wanted:
        if one.recipe.conversion and (because := out_of_reach(settings.model, one.format, one.recipe.conversion)):
            reasons[one.name] = because
    return reasons


def _expected_rows(settings: DeploySettings, wanted: Sequence[Wanted]) -> list[tables.Variant]:
    """Return a row for each variant, with the sizes of the files that they start from.

    What is still to be converted counts with the size of the baseline.
    """
    model = settings.model
    form = model.baseline_format
    size = model.file(form).stat().st_size
    offline = {"score": 1.0, "model_wire_bytes": size, "sqnr_db": None, "fusion": None}
    base = tables.Variant(
        variant=BASELINE, format=form, engine=ENGINE_OF[form], control=True, recipe={}, offline=offline
    )
    return [base] + [
        tables.Variant(
            variant=one.name,
            format=one.format,
            engine=one.engine,
            control=False,
            recipe=recipe_document(one.recipe),
            offline=offline,
        )
        for one in wanted
    ]


def _classes(plan: TrialPlan, groups: dict[str, list[DeviceView]]) -> dict[str, dict[str, Any]]:
    parts = {part.device_class: part for part in plan.classes}
    return {
        name: {
            "devices": [view.device for view in group],
            "online": sum(view.online for view in group),
            "emulated": any(view.emulated for view in group),
            "measured_on": list(parts[name].devices) if name in parts else [],
            "variants": list(parts[name].variants) if name in parts else [],
            "sittings": len(parts[name].sittings) if name in parts else 0,
        }
        for name, group in groups.items()
    }


def _how(settings: DeploySettings) -> str:
    rules = settings.workload.trials
    serving = "serving pauses" if rules.policy == "pause" else "beside serving (coexist)"
    return f"scenario {rules.scenario}, grade {rules.grade}, {serving}{', operators profiled' if rules.profile else ''}"


def _impossible(plan: TrialPlan, groups: dict[str, list[DeviceView]]) -> dict[str, str]:
    never = "no device of the class was ever seen: devices are seen while a deploy or `controller serve` runs"
    unknown = {name: never for name, group in groups.items() if not group}
    return {**unknown, **plan.impossible}
