"""What a deploy would do, from what is known now: nothing is made, sent or written.

Decides: the words and numbers of the preview. Leaves out: doing any of it. Devices count as they were last seen;
variants count as if every recipe succeeded, since that is found out only by making them.
"""

from dataclasses import asdict, dataclass
from typing import Any

from controller.compress.variant import BASELINE, ENGINE_OF, recipe_document
from controller.deploy.context import by_class
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
    warnings: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the preview as plain values."""
        return {name: value for name, value in asdict(self).items() if not name.endswith("cost_text")}


def preview(settings: DeploySettings, views: list[DeviceView]) -> Preview:
    """Return what a deploy of these settings to these devices would make, measure and roll out."""
    rows = _expected_rows(settings)
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


def _expected_rows(settings: DeploySettings) -> list[tables.Variant]:
    """Return a row for each variant that the recipes ask for, with the sizes of the files that they start from."""
    model = settings.model
    form = model.baseline_format
    size = {each: model.file(each).stat().st_size for each in model.formats}
    offline = {"score": 1.0, "model_wire_bytes": size[form], "sqnr_db": None, "fusion": None}
    rows = [_row(BASELINE, form, {}, True, offline)]
    for recipe in settings.recipes:
        for each in recipe.formats:
            if each in size:
                rows.append(_row(recipe.variant_name(each), each, recipe_document(recipe), False, offline))
    return rows


def _row(name: str, form: str, recipe: dict[str, Any], control: bool, offline: dict[str, Any]) -> tables.Variant:
    engine = ENGINE_OF[form]
    return tables.Variant(variant=name, format=form, engine=engine, control=control, recipe=recipe, offline=offline)


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
