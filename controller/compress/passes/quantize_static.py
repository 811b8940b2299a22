"""Static int8 quantisation of an ONNX model: ranges from calibration samples, written as QDQ pairs.

Decides: which scheme means which types, and that ranges are observed once for all schemes. Leaves out: observing
(`calibrate/stream.py`) and the arithmetic of QDQ (ONNX Runtime's quantiser).

Scheme and processor together decide the speed: u8s8 is fastest with VNNI and saturates silently without it
(`reduce_range` is exact there); u8u8 is exact everywhere; on ARM with dot product u8s8 and s8s8 are both exact.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.compress.cache import Entry, cache_key
from controller.compress.calibrate import ranges, stream
from controller.compress.calibrate.ranges import Range
from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.convert.onnx_io import canonical_digest, parse_onnx

DEFAULT_PERCENTILE = 99.99
"""Half of the outer 0.01 % of an activation's values are clipped on either side."""


class QuantizeStaticPass:
    """Weights per channel by default; activations per tensor."""

    name = "quantize_static"
    needs = Needs(
        libraries=("onnx", "onnxruntime", "numpy"), calibration=True, sources=(ranges.__name__, stream.__name__)
    )

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {
            "scheme": ("u8s8", "s8s8", "u8u8"),
            "calibration": ("minmax", "percentile"),
            "percentile": (99.9, 99.99, 99.999),
            "per_channel": (True, False),
        }

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        prepared = _prepared(artifact, context)
        observed = _observed(prepared, parameters, context)
        path = context.folder / "model.onnx"
        # A copy of its own: the quantiser writes a scratch file beside its input, and other schemes share that folder.
        own = context.folder / "prepared.onnx"
        shutil.copyfile(prepared, own)
        _quantise(own, path, parameters, _read_ranges(observed))
        own.unlink()
        samples = observed.facts["samples"]
        return Artifact("onnx", path, precision="int8", notes=(f"calibrated on {samples} samples",))


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


def _observed(prepared: Path, parameters: Mapping[str, Any], context: PassContext) -> Entry:
    """Return the activations' ranges, kept so that every scheme shares them."""
    percentile = parameters["percentile"] or DEFAULT_PERCENTILE if parameters["calibration"] == "percentile" else None
    inputs = context.calibration_inputs(parameters["samples"])

    def make(_folder: Path) -> Mapping[str, Any]:
        ends = context.calibration_ends
        seen = stream.observe(prepared, inputs, percentile, context.threads, name=ends.input, state=ends.state)
        return {"ranges": {name: [one.low, one.high] for name, one in seen.items()}, "samples": len(inputs)}

    parts = {
        "what": "calibration",
        "model": canonical_digest(parse_onnx(prepared)),
        "samples": [context.calibration_digest, len(inputs)],
        "percentile": percentile,
        "source": [Path(module.__file__ or "").read_text() for module in (ranges, stream)],
        "onnxruntime": _version(),
    }
    return context.cache.get_or_make(cache_key(parts), make)


def _read_ranges(entry: Entry) -> dict[str, Range]:
    return {name: Range(low, high) for name, (low, high) in entry.facts["ranges"].items()}


def _quantise(prepared: Path, path: Path, parameters: Mapping[str, Any], observed: Mapping[str, Range]) -> None:
    """Write the QDQ model. The ranges enter through the file that ONNX Runtime's quantiser keeps them in."""
    import numpy as np
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
    )
    ranges_file.unlink()


def _version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


PASS: CompressionPass = QuantizeStaticPass()
