"""Second stage: what each variant is worth off the devices; the agent's own worker runs it over the evaluation set.

Decides: nothing but which variants cannot be evaluated at all; what is measured where is `controller/trial/plan`.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from controller.compress.evaluate import EvaluationContext, OfflineResult, evaluate
from controller.compress.variant import Variant
from controller.deploy.context import DeployContext
from controller.deploy.stages.attacking import attack_all
from controller.errors import UnusableModel
from controller.models.samples import golden_inputs
from controller.store import tables

WORKERS = 2
"""Evaluations side by side: each is a child process; accuracy does not suffer from company."""


def run(context: DeployContext) -> None:
    """Evaluate every variant and write the numbers.

    Raises:
        UnusableModel: The baseline itself cannot be evaluated.
    """
    made = context.made
    context.progress.stage("screening", len(made.variants))
    golden = golden_inputs(context.settings.model, context.workspace.datasets)
    shared = EvaluationContext(context.cache, golden)
    baseline = made.variants[0]
    first = evaluate(baseline, context.samples(), None, shared)
    _keep(context, baseline, first)
    outputs = first.outputs()

    def one(variant: Variant) -> None:
        try:
            _keep(context, variant, evaluate(variant, context.samples(), outputs, shared))
        except UnusableModel as exc:
            _drop(context, variant, str(exc))

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, made.variants[1:]))
    attack_all(context)


def offline_document(result: OfflineResult) -> dict[str, Any]:
    """Return an offline result as plain values; the arrays stay in the cache."""
    return {
        "samples": result.samples,
        "score_name": result.score_name,
        "score": float(result.accuracy),
        "metrics": {name: float(value) for name, value in result.metrics.items()},
        "sqnr_db": result.sqnr_db,
        "agreement_ratio": result.agreement_ratio,
        "parameters": result.parameters,
        "macs": result.macs,
        "disk_bytes": result.disk_bytes,
        "model_wire_bytes": result.wire_bytes,
        "fusion": _fusion(result),
        "notes": list(result.notes),
    }


def _fusion(result: OfflineResult) -> dict[str, Any] | None:
    if result.fusion is None:
        return None
    from dataclasses import asdict

    return {**asdict(result.fusion), "quantised_ratio": result.fusion.quantised_ratio}


def _keep(context: DeployContext, variant: Variant, result: OfflineResult) -> None:
    context.made.offline[variant.name] = result
    with context.store.begin() as session:
        row = session.get(tables.Variant, (context.deployment, variant.name))
        assert row is not None  # the first stage wrote it
        row.offline = offline_document(result)
    context.progress.advance(f"{variant.name}: {result.score_name} {result.accuracy:.4f}")


def _drop(context: DeployContext, variant: Variant, because: str) -> None:
    with context.store.begin() as session:
        row = session.get(tables.Variant, (context.deployment, variant.name))
        assert row is not None  # the first stage wrote it
        row.error = because
    context.progress.advance(f"{variant.name} failed: {because}")
