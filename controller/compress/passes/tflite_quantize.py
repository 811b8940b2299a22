"""Quantise a float TFLite file with ai-edge-quantizer: static int8, dynamic int8 or 8-bit weights. Needs no torch.

A file whose weights alone are stored in fewer bits has them restored first, so that it can be quantised in another way.

Calibration samples are handed over one at a time; the quantiser keeps one range per tensor. By itself it keeps a moving
average of each sample's extremes, which clips most samples; here the extremes of all samples are kept (`minmax`),
unless the recipe asks for the average.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.passes import tflite_restore
from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext
from controller.compress.passes.tflite_restore import RESTORABLE, needs_restorable, restored
from controller.convert.tflite import read_tflite
from controller.errors import UnusableModel

_PRECISIONS = {"static": "int8", "dynamic": "int8-dynamic", "weight_only": "int8-weights"}


class TfliteQuantizePass:
    """8 bits throughout, weights per channel."""

    name = "tflite_quantize"
    needs = Needs(
        libraries=("ai-edge-quantizer", "ai-edge-litert", "numpy"),
        calibration=True,
        sources=(tflite_restore.__name__,),
    )

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_restorable(self.name, capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"mode": tuple(_PRECISIONS), "calibration": ("minmax", "moving_average")}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        from ai_edge_quantizer import quantizer, recipe

        artifact, mode = _as_float(artifact, context), parameters["mode"]
        recipes = {
            "static": recipe.static_wi8_ai8,
            "dynamic": recipe.dynamic_wi8_afp32,
            "weight_only": recipe.weight_only_wi8_afp32,
        }
        chosen = recipes[mode]()
        ranges = _calibrated(artifact, chosen, parameters, context) if mode == "static" else None
        maker = quantizer.Quantizer(str(artifact.path), chosen)
        result = maker.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
        if result is None:
            raise UnusableModel(f"{artifact.path.name}: ai-edge-quantizer gave no model back")
        path = context.folder / "model.tflite"
        path.write_bytes(bytes(result))
        if artifact.notes:
            artifact.path.unlink()
        return Artifact("tflite", path, precision=_PRECISIONS[mode], notes=artifact.notes)


def _as_float(artifact: Artifact, context: PassContext) -> Artifact:
    """Return the file with float weights: itself, or a restored one in the context's folder, with a note."""
    precision = read_tflite(artifact.path).precision
    if precision not in RESTORABLE:
        return artifact
    path = context.folder / "restored.tflite"
    path.write_bytes(restored(artifact.path))
    return Artifact("tflite", path, notes=(f"weights restored from {precision}",))


def _calibrated(artifact: Artifact, chosen: Any, parameters: Mapping[str, Any], context: PassContext) -> Any:
    """Return the quantiser's table of ranges over the calibration samples."""
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    keep = {"minmax": qsv_utils.min_max_update, "moving_average": qsv_utils.moving_average_update}
    watcher = calibrator.Calibrator(
        artifact.path.read_bytes(),
        num_threads=context.threads,
        mode=calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS,
        qsv_update_func=keep[parameters["calibration"]],
    )
    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(chosen)
    signature, argument = _first_signature(artifact)
    watcher.calibrate({signature: _OneByOne(context.calibration_inputs(parameters["samples"]), argument)}, rules)
    return watcher.get_model_qsvs()


def _first_signature(artifact: Artifact) -> tuple[str, str]:
    """Return the name of the file's signature and of its argument.

    Raises:
        UnusableModel: The file has none: an old exporter wrote it.
    """
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(model_path=str(artifact.path)).get_signature_list()
    if not signatures:
        raise UnusableModel(
            f"{artifact.path.name}: the file has no signature to calibrate by; export it with litert-torch"
        )
    name, ends = next(iter(signatures.items()))
    if len(ends["inputs"]) > 1:
        inputs = ", ".join(ends["inputs"])
        raise UnusableModel(
            f"{artifact.path.name}: static quantisation calibrates one input, this file takes {inputs}; use mode "
            f"dynamic or weight_only"
        )
    return name, ends["inputs"][0]


class _OneByOne:
    """Samples as the quantiser takes them; views only.

    It goes over them more than once, which a generator would not bear.
    """

    def __init__(self, inputs: NDArray[np.float32], argument: str) -> None:
        self._inputs, self._argument = inputs, argument

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        return ({self._argument: sample[np.newaxis]} for sample in self._inputs)


PASS: CompressionPass = TfliteQuantizePass()
