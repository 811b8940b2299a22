"""Third stage: bundles of what is to be measured, and the evaluation set. The same content gives the same digest."""

from controller.bundle.pack import pack_bundle, pack_dataset
from controller.deploy.context import DeployContext
from controller.models.samples import golden_inputs
from controller.store import tables


def run(context: DeployContext) -> None:
    """Pack the evaluation set and a bundle for each variant that was evaluated, and note the digests."""
    made, store = context.made, context.service.artifacts
    model, samples = context.settings.model, context.samples()
    context.progress.stage("packing", len(made.offline))
    # Labels stay here: devices answer, the controller judges.
    made.evaluation = pack_dataset(samples.name, context.settings.model.answered_as, samples.inputs, None, store)
    golden = golden_inputs(model, context.workspace.datasets)
    for variant in made.variants:
        if variant.name in made.offline:
            outputs = made.offline[variant.name].golden_outputs
            made.bundles[variant.name] = pack_bundle(
                variant, model, golden, outputs, evaluation_digest=made.evaluation.digest, store=store
            )
            context.progress.advance(variant.name)
    _write(context)


def _write(context: DeployContext) -> None:
    with context.store.begin() as session:
        for name, bundle in context.made.bundles.items():
            row = session.get(tables.Variant, (context.deployment, name))
            assert row is not None  # the first stage wrote it
            row.bundle = bundle.digest
            row.offline = {
                **(row.offline or {}),
                "wire_bytes": bundle.ref.wire_bytes,
                "bundle_bytes": bundle.ref.size_bytes,
            }
