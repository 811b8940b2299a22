"""Does a conversion answer as its source does? Both sides are run, compared, and what is wrong becomes a flag.

Decides: who runs which side: the agent's own worker where it has the engine, else the converter's environment; Core ML,
which nothing here runs, is judged by its weights. Leaves out: the measures and their limits (`controller/convert/
parity.py`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache
from controller.compress.process.host import engine_version
from controller.compress.process.run import EvaluationContext, run_variant, stacked
from controller.compress.variant import ENGINE_OF, Variant
from controller.convert.conversion import WeightParity
from controller.convert.making.export import Made
from controller.convert.making.routes import ENGINES, FORMATS, Route
from controller.convert.operators import file_precision
from controller.convert.parity import LIMITS, WEIGHT_LIMITS_DB, Parity, compare, fault
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from wire.spec import Pipeline, output_tensors

UNPROVEN = "no system here runs Core ML: its weights were compared, and no outputs"
ON_CPU = "compared on ONNX Runtime's CPU provider; TensorRT's own outputs are compared by the device's self-test"
BY_CONVERTER = "compared in the converter environment: the engine {} is not installed beside the controller"


@dataclass(frozen=True)
class Verdict:
    """What was found.

    parity: null where nothing could be compared; `unproven` says why. flagged: why it must not be deployed.
    """

    parity: Parity | None = None
    unproven: str | None = None
    flagged: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bench:
    """What judging needs: the model, raw queries, which of them count, and where outputs are kept."""

    model: ModelFolder
    queries: NDArray[Any]
    rows: slice | NDArray[np.int64]
    cache: PassCache


def judged(route: Route, made: Made, pipeline: Pipeline | None, bench: Bench) -> Verdict:
    """Compare a conversion with its source.

    Args:
        route: How it was made.
        made: Its file, and what its worker computed.
        pipeline: Around the file; null for Core ML, which nothing here runs.
        bench: Model and queries.
    Raises:
        UnusableModel: The source's own file does not run here.
    """
    if made.weights is not None or pipeline is None:
        return Verdict(unproven=UNPROVEN, flagged=_weight_fault(route.precision, made.weights))
    source = _source_outputs(route, made, pipeline, bench)
    try:
        outputs, notes = _outputs(route, made, pipeline, bench)
        parity = compare(source, outputs, bench.model.answered_as)
    except (UnusableModel, ValueError) as exc:
        return Verdict(unproven="it could not be compared", flagged=str(exc))
    flagged = fault(parity, LIMITS[route.target, route.precision]) or _source_fault(route, source, bench)
    return Verdict(parity, None, flagged, notes)


def _source_outputs(route: Route, made: Made, pipeline: Pipeline, bench: Bench) -> NDArray[Any]:
    if made.source_outputs:
        return stacked(made.source_outputs, _places(route, made, pipeline, bench.model))[bench.rows]
    return _by_agent(bench, route.source)


def _outputs(route: Route, made: Made, pipeline: Pipeline, bench: Bench) -> tuple[NDArray[Any], tuple[str, ...]]:
    form, engine = FORMATS[route.target], str(ENGINES[route.target])
    if made.outputs and not _is_here(engine):
        read = stacked(made.outputs, _places(route, made, pipeline, bench.model))
        return read[bench.rows], (BY_CONVERTER.format(engine),)
    variant = Variant(
        name=f"{route.target}-{route.precision}",
        recipe={},
        lineage=(),
        format=form,
        engine=engine,
        engine_options={},
        model_file=made.path,
        pipeline=pipeline,
        model_root=bench.model.root,
    )
    return _run(variant, bench), (ON_CPU,) if route.target == "tensorrt" else ()


def _source_fault(route: Route, source: NDArray[Any], bench: Bench) -> str | None:
    """Return in words that a torch or Keras source is not the model that is deployed, or null.

    A state file may be of another training than the exported file beside it.
    """
    own = next((form for form in ("onnx", "tflite") if form in bench.model.spec.formats), None)
    if own is None or route.source == own or file_precision(own, bench.model.file(own)) != "float32":
        return None
    try:
        found = fault(compare(_by_agent(bench, own), source, bench.model.answered_as), LIMITS[own, "float"])
    except ValueError as exc:
        found = str(exc)
    file = bench.model.file(own).name
    return f"its source, {route.source}, gives other answers than {file}: {found}" if found else None


def _by_agent(bench: Bench, form: str) -> NDArray[Any]:
    """Return the outputs of the model's own file of a format."""
    model = bench.model
    variant = Variant(
        name=f"{model.identity} {form}",
        recipe={},
        lineage=(),
        format=form,
        engine=ENGINE_OF[form],
        engine_options={},
        model_file=model.file(form),
        pipeline=model.pipeline(form),
        model_root=model.root,
    )
    return _run(variant, bench)


def _run(variant: Variant, bench: Bench) -> NDArray[Any]:
    outputs: NDArray[Any] = np.load(
        run_variant(variant, bench.queries[bench.rows], EvaluationContext(bench.cache, bench.queries[:1])),
        allow_pickle=False,
    )
    return outputs


def _places(route: Route, made: Made, pipeline: Pipeline, model: ModelFolder) -> list[int]:
    """Return which of the source's outputs the pipeline reads: those at the places that they have in the file."""
    from controller.convert.signature import read_signature

    form = FORMATS[route.target]
    names = [tensor.name for tensor in read_signature(form, made.path).outputs]
    places = [names.index(tensor.name) for tensor in output_tensors(pipeline.post)]
    if max(places) >= len(made.source_outputs):
        raise UnusableModel(
            f"{model.identity}: the file has {len(names)} outputs, its source {len(made.source_outputs)}"
        )
    return places


def _is_here(engine: str) -> bool:
    try:
        return bool(engine_version(engine))
    except UnusableModel:
        return False


def _weight_fault(precision: str, weights: WeightParity | None) -> str | None:
    limit = WEIGHT_LIMITS_DB[precision]
    if weights is None or weights.compared == 0:
        return "none of its weights could be compared with the source's"
    if weights.lowest_sqnr_db is not None and weights.lowest_sqnr_db < limit:
        return f"its weights {weights.worst!r} reach {weights.lowest_sqnr_db:.1f} dB, at least {limit:g} are needed"
    return None
