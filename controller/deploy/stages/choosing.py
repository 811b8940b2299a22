"""Fifth stage: from records to a variant for each class, with the reasons for it and against each other."""

import math
from typing import Any

from controller.choose.choose import Choice, choose
from controller.choose.limits import Judged
from controller.choose.measured import Estimate, Measured, TrialSummary
from controller.compress.metrics.plugins import score_name
from controller.deploy.context import DeployContext
from controller.errors import NoFeasibleVariant
from controller.fleet.views import TrialView
from controller.models.labels.kinds import ModelKind
from controller.store import deployments, tables
from controller.trial.summary import Labels, summarise


def run(context: DeployContext) -> None:
    """Choose for every class and write the choices.

    Raises:
        NoFeasibleVariant: For a class no variant keeps all limits; the text names the class, the limit that is the
            tightest, and by how much it is missed. Nothing is rolled out then, to no class.
    """
    context.progress.stage("choosing", len(context.settings.classes))
    views = context.service.trials(context.deployment)
    unmet = []
    for device_class in context.settings.classes:
        mine = [view for view in views if view.device_class == device_class.name]
        choice = _choose(context, device_class.name, mine)
        context.progress.advance(f"{device_class.name}: {choice.winner or 'none'}: {choice.because}")
        if choice.winner is None:
            unmet.append(f"class {device_class.name}: {choice.because}")
    if unmet:
        raise NoFeasibleVariant("; ".join(unmet) + ". Loosen the limit in the fleet file, or add recipes")


def _choose(context: DeployContext, device_class: str, views: list[TrialView]) -> Choice:
    samples, evaluation = context.samples(), context.made.evaluation
    labels = Labels(samples.kind, samples.labels, evaluation.digest if evaluation else "")
    summaries = [summarise(view.record, labels) for view in views if view.record is not None]
    goals = context.settings.workload.goals_of(device_class)
    measured = _measured(context, summaries, goals.attack_epsilon)
    control = next((each for each in measured if _is_control(each)), None)
    if control is None:
        choice = Choice(
            None, "no device sent a record of the control: see `controller fleet show` and `controller trial list`"
        )
    else:
        choice = choose(goals, control, [each for each in measured if each is not control])
    _write(context, device_class, choice, measured, views)
    return choice


def _measured(context: DeployContext, summaries: list[TrialSummary], epsilon: float | None) -> list[Measured]:
    by_variant: dict[str, list[TrialSummary]] = {}
    for summary in summaries:
        by_variant.setdefault(summary.variant, []).append(summary)
    bundles, attacked = context.made.bundles, context.made.attacked
    under_attack = {name: attacked.get((name, epsilon)) for name in by_variant} if epsilon is not None else {}
    return [
        Measured(
            variant=name,
            bundle=bundles[name].digest,
            wire_bytes=bundles[name].ref.wire_bytes,
            disk_bytes=bundles[name].ref.size_bytes,
            trials=tuple(trials),
            attacked=found.judgement if (found := under_attack.get(name)) is not None else None,
            not_attacked=found.because if found is not None else "",
        )
        for name, trials in by_variant.items()
        if name in bundles
    ]


def _is_control(measured: Measured) -> bool:
    return any(trial.control for trial in measured.trials)


def _write(
    context: DeployContext, device_class: str, choice: Choice, measured: list[Measured], views: list[TrialView]
) -> None:
    rejected = {**_not_measured(context, device_class, measured), **choice.rejected}
    document = {
        "because": choice.because,
        "rejected": rejected,
        "front": list(choice.front),
        "tightest": choice.tightest,
        "goals": context.settings.workload.goals_of(device_class).model_dump(mode="json"),
        "devices": [view.device for view in context.devices_by_class()[device_class]],
        "measured_on": sorted({view.device for view in views}),
        "emulated": any(trial.emulated for each in measured for trial in each.trials),
        "measured": sorted(
            (measured_row(each, choice.judged.get(each.variant), context.samples().kind) for each in measured),
            key=lambda row: (row["p50_ms"] is None, row["p50_ms"]),
        ),
    }
    bundle = context.made.bundles[choice.winner].digest if choice.winner else None
    with context.store.begin() as session:
        deployments.set_choice(
            session,
            tables.Choice(
                deployment=context.deployment,
                device_class=device_class,
                variant=choice.winner,
                bundle=bundle,
                document=document,
            ),
        )


def _not_measured(context: DeployContext, device_class: str, measured: list[Measured]) -> dict[str, str]:
    known = {each.variant for each in measured}
    with context.store.read() as session:
        rows = deployments.variants(session, context.deployment)
    screens = {row.variant: (row.screen or {}).get(device_class) or {} for row in rows}
    return {
        row.variant: row.error or screens[row.variant].get("because") or "not measured in this class"
        for row in rows
        if row.variant not in known
    }


def measured_row(each: Measured, judged: Judged | None, kind: ModelKind) -> dict[str, Any]:
    """Return a variant's numbers in a class as plain values; what is not known is None."""
    gain = judged.speed_up if judged else None
    loss = judged.loss if judged else None
    scores = [trial.judgement.metrics[score_name(kind)] for trial in each.trials if trial.judgement]
    return {
        "variant": each.variant,
        "bundle": each.bundle,
        "control": _is_control(each),
        **_milliseconds("p50", each.p50_ns),
        **_milliseconds("p95", each.p95_ns),
        **_milliseconds("query", each.query_ns),
        "queries_per_second": None if each.query_ns is None else 1e9 / each.query_ns.value,
        "scenario": each.trials[0].scenario,
        "serving_policy": each.trials[0].serving_policy,
        "speed_up": None
        if gain is None
        else {name: _finite(getattr(gain, name)) for name in ("ratio", "lower", "upper")},
        "score_name": score_name(kind),
        "score": min(scores, default=None),
        "attacked": None if each.attacked is None else dict(each.attacked.metrics),
        "loss": None if loss is None else {"lost": _finite(loss.lost), "upper": _finite(loss.upper)},
        "peak_memory_bytes": each.peak_memory_bytes,
        "memory_by": next((trial.memory_by for trial in each.trials if trial.memory_by), None),
        "wire_bytes": each.wire_bytes,
        "disk_bytes": each.disk_bytes,
        "grade": each.trials[0].grade,
        "samples": sum(trial.samples for trial in each.trials),
        "devices": [trial.device for trial in each.trials],
        "excluded": each.excluded,
        "flags": sorted({flag for trial in each.trials for flag in (*trial.flags, *trial.void)}),
    }


def _milliseconds(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {f"{name}_ms": None, f"{name}_lower_ms": None, f"{name}_upper_ms": None}
    values = (estimate.value, estimate.lower, estimate.upper)
    keys = (f"{name}_ms", f"{name}_lower_ms", f"{name}_upper_ms")
    return {key: _finite(value / 1e6) for key, value in zip(keys, values, strict=True)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
