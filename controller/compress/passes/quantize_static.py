"""Static int8 quantisation of an ONNX model: ranges from calibration samples, written as QDQ pairs.

Decides: which scheme means which types, and that ranges are observed once for all schemes. Leaves out: observing
(`calibrate/stream.py`) and the arithmetic of QDQ (ONNX Runtime's quantiser).

Scheme and processor together decide the speed: u8s8 is fastest with VNNI and saturates silently without it
(`reduce_range` is exact there); u8u8 is exact everywhere; on ARM with dot product u8s8 and s8s8 are both exact.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.compress.cache import cache_key
from controller.compress.calibrate import clipping, ranges, stream
from controller.compress.calibrate.clipping import Method
from controller.compress.calibrate.ranges import Histogram, Range
from controller.compress.channels.trace import inlined
from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.quantised import adaptive, biases, dead_channels, emulated, mixed, moments, rounding
from controller.compress.weights.operators import weighted
from controller.convert.onnx_io import canonical_digest, parse_onnx
from controller.errors import UnusableModel

PROBE = 64
"""Calibration samples on which operators are compared, and over which means are taken, at most."""


class QuantizeStaticPass:
    """Weights per channel by default; activations per tensor."""

    name = "quantize_static"
    needs = Needs(
        libraries=("onnx", "onnxruntime", "numpy"),
        calibration=True,
        sources=tuple(
            each.__name__
            for each in (
                *(ranges, clipping, stream, emulated, mixed),
                *(biases, adaptive, dead_channels, moments, rounding),
            )
        ),
    )

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {
            "scheme": ("u8s8", "s8s8", "u8u8"),
            "calibration": ("minmax", "moving_average", "percentile", "entropy", "mse"),
            "percentile": (99.9, 99.99, 99.999),
            "per_channel": (True, False),
        }

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        check_state(parameters, context)
        prepared = _prepared(artifact, context)
        observed = _observed(prepared, parameters, context)
        # A copy of its own: the quantiser writes a scratch file beside its input, and other schemes share that folder.
        own = context.folder / "prepared.onnx"
        _copy_with_names(prepared, own)
        path, notes = context.folder / "model.onnx", [f"calibrated on {_samples(parameters, context)} samples"]

        def quantised_without(kept: frozenset[str]) -> Path:
            _quantise(own, path, parameters, observed, kept)
            return path

        if parameters["least_sqnr_db"] is None:
            quantised_without(frozenset())
        else:
            notes.append(_mixed(own, quantised_without, parameters["least_sqnr_db"], context))
        notes += _refined(own, path, context, parameters)
        own.unlink()
        return Artifact("onnx", path, precision="int8", notes=tuple(notes))


def check_state(parameters: Mapping[str, Any], context: PassContext) -> None:
    """Refuse what looks at single queries for a model that keeps state between them.

    Raises:
        UnusableModel: Both are there.
    """
    asked = [name for name in ("least_sqnr_db", "bias_correction") if parameters[name]]
    asked += ["rounding: adaptive"] if parameters["rounding"] == "adaptive" else []
    if asked and context.calibration_ends.state:
        raise UnusableModel(f"{asked[0]} looks at single queries, and this model keeps state: leave it out")


def _samples(parameters: Mapping[str, Any], context: PassContext) -> int:
    return len(context.calibration_inputs(parameters["samples"]))


def _copy_with_names(prepared: Path, own: Path) -> None:
    """Copy a model; operators are told apart by their names, so that each gets one."""
    import onnx

    model = onnx.load(prepared)
    for index, operator in enumerate(model.graph.node):
        operator.name = operator.name or f"{operator.op_type}_{index}"
    onnx.save(model, own)


def quantiser_of(
    artifact: Artifact, parameters: Mapping[str, Any], context: PassContext
) -> tuple[list[str], mixed.Quantise, mixed.Judge]:
    """Return the names of a model's operators with weights, what quantises it without some, and what judges that.

    Raises:
        UnusableData: There are no samples.
        UnusableModel: It keeps state.
    """
    check_state({**parameters, "least_sqnr_db": 1.0}, context)
    prepared = _prepared(artifact, context)
    observed = _observed(prepared, parameters, context)
    own, path = context.folder / "prepared.onnx", context.folder / "model.onnx"
    _copy_with_names(prepared, own)

    def quantised_without(kept: frozenset[str]) -> Path:
        _quantise(own, path, parameters, observed, kept)
        return path

    names, judge = _judged(own, context)
    return names, quantised_without, judge


def _judged(own: Path, context: PassContext) -> tuple[list[str], mixed.Judge]:
    """Return the operators of a model, and what judges a quantised one against it."""
    import onnx

    plain = onnx.load(own)
    feed = stream.Feed(context.calibration_inputs(PROBE), context.calibration_ends.input, threads=context.threads)
    wanted = emulated.outputs(plain, feed)

    def judge(path: Path) -> float:
        return emulated.sqnr_db(wanted, emulated.outputs(path, feed))

    return [each.name for each in weighted(plain)], judge


def _mixed(own: Path, quantise: mixed.Quantise, least_db: float, context: PassContext) -> str:
    """Leave the noisiest operators float, and say how many and what came of it."""
    names, judge = _judged(own, context)
    noise = mixed.sensitivity(names, quantise, judge) if judge(quantise(frozenset())) < least_db else {}
    found = mixed.keep_float(noise, quantise, judge, least_db)
    reached = "" if found.sqnr_db >= least_db else f": {least_db:g} dB were not reached"
    kept = f": {', '.join(found.kept)}" if found.kept else ""
    return f"{len(found.kept)} of {len(names)} operators stay float{kept}; SQNR {found.sqnr_db:.1f} dB{reached}"


def _refined(own: Path, path: Path, context: PassContext, parameters: Mapping[str, Any]) -> list[str]:
    """Change levels and biases of the quantised model in `path` as asked for, and say of how many."""
    import onnx

    if parameters["rounding"] == "nearest" and not parameters["bias_correction"]:
        return []
    inputs = context.calibration_inputs(min(PROBE, parameters["samples"]))
    feed = stream.Feed(inputs, context.calibration_ends.input, threads=context.threads)
    plain, changed, notes = inlined(onnx.load(own)), onnx.load(path), []
    if parameters["rounding"] == "adaptive":
        changed, count = adaptive.round_adaptively(changed, plain, feed)
        notes.append(f"{count} weights rounded adaptively")
    if parameters["bias_correction"]:
        changed, count = biases.correct_biases(changed, plain, feed)
        notes.append(f"{count} biases corrected")
    onnx.save(changed, path)
    return notes


def _prepared(artifact: Artifact, context: PassContext) -> Path:
    """Return the model with its shapes inferred and its batch normalisations folded; one for all schemes."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    def make(folder: Path) -> Mapping[str, Any]:
        quant_pre_process(str(artifact.path), str(folder / "prepared.onnx"))
        return {"file": "prepared.onnx"}

    parts = {
        "what": "quant_pre_process",
        "model": canonical_digest(parse_onnx(artifact.path)),
        "onnxruntime": _version(),
    }
    entry = context.cache.get_or_make(cache_key(parts), make)
    return entry.folder / str(entry.facts["file"])


def _observed(prepared: Path, parameters: Mapping[str, Any], context: PassContext) -> dict[str, Range]:
    """Return the activations' ranges. Extremes and histograms are kept: every scheme and method shares them."""
    method = Method(parameters["calibration"], parameters["percentile"])
    ends, inputs = context.calibration_ends, context.calibration_inputs(parameters["samples"])
    feed = stream.Feed(inputs, ends.input, ends.state, context.threads)
    seen = _kept_extremes(prepared, feed, context, moving=method.name == "moving_average")
    if not method.counts:
        return seen
    return {name: method.range_of(each) for name, each in _kept_histograms(prepared, feed, context, seen).items()}


def _kept_extremes(prepared: Path, feed: stream.Feed, context: PassContext, *, moving: bool) -> dict[str, Range]:
    def make(_folder: Path) -> Mapping[str, Any]:
        seen = stream.extremes(prepared, feed, moving=moving)
        return {"ranges": {name: [one.low, one.high] for name, one in seen.items()}}

    parts = _parts("moving extremes" if moving else "extremes", prepared, feed, context)
    facts = context.cache.get_or_make(cache_key(parts), make).facts
    return {name: Range(low, high) for name, (low, high) in facts["ranges"].items()}


def _kept_histograms(
    prepared: Path, feed: stream.Feed, context: PassContext, over: Mapping[str, Range]
) -> dict[str, Histogram]:
    import numpy as np

    def make(folder: Path) -> Mapping[str, Any]:
        counted = stream.histograms(prepared, feed, over)
        np.savez(folder / "counts.npz", *(each.counts for each in counted.values()))
        return {"file": "counts.npz", "names": list(counted)}

    entry = context.cache.get_or_make(cache_key(_parts("histograms with names", prepared, feed, context)), make)
    with np.load(entry.folder / entry.facts["file"], allow_pickle=False) as counts:
        return {
            name: Histogram(over[name], counts=counts[f"arr_{place}"])
            for place, name in enumerate(entry.facts["names"])
        }


def _parts(what: str, prepared: Path, feed: stream.Feed, context: PassContext) -> dict[str, Any]:
    """Return what extremes and histograms depend on."""
    return {
        "what": what,
        "model": canonical_digest(parse_onnx(prepared)),
        "samples": [context.calibration_digest, len(feed.inputs)],
        "source": [Path(module.__file__ or "").read_text() for module in (ranges, stream)],
        "onnxruntime": _version(),
    }


def _quantise(
    prepared: Path,
    path: Path,
    parameters: Mapping[str, Any],
    observed: Mapping[str, Range],
    kept: Collection[str],
) -> None:
    """Write the QDQ model, with the operators `kept` left float.

    The ranges enter through the file that ONNX Runtime's quantiser keeps them in.
    """
    import numpy as np
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    types = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
    scheme = parameters["scheme"]
    table = {name: (np.float32(one.low), np.float32(one.high)) for name, one in observed.items()}
    ranges_file = path.with_name("ranges.json")
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, table), ranges_file)
    quantize_static(
        str(prepared),
        str(path),
        None,
        calibration_cache_path=ranges_file,
        quant_format=QuantFormat.QDQ,
        activation_type=types[scheme[:2]],
        weight_type=types[scheme[2:]],
        per_channel=parameters["per_channel"],
        reduce_range=parameters["reduce_range"],
        nodes_to_exclude=sorted(kept),
    )
    ranges_file.unlink()
    made = onnx.load(path)
    if dead_channels.mend_dead_channels(made, inlined(onnx.load(prepared))):
        onnx.save(made, path)


def _version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


PASS: CompressionPass = QuantizeStaticPass()
