"""Who takes part: each toolkit with its documented default and a better setting that its documentation names; and ours.

Decides: the settings. On processors without VNNI, ONNX Runtime's documentation advises 7-bit weights or unsigned ones,
so that both take part. Leaves out: running them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.compression.peers.environments import CONVERTER
from controller.models.folder import ModelFolder

OURS = "thresher"
PROGRAMS = "benchmarks.compression.peers.programs"


@dataclass(frozen=True)
class Entrant:
    """A toolkit in one setting.

    environment: where it runs; empty: here. program: of `programs`. form: of the file that it takes and gives.
    setting: the program's own. trains: it takes the model's training part, and minutes.
    """

    toolkit: str
    name: str
    environment: str
    program: str
    form: str = "onnx"
    setting: Mapping[str, Any] = field(default_factory=dict)
    trains: bool = False

    @property
    def is_ours(self) -> bool:
        return self.toolkit == OURS

    @property
    def document(self) -> dict[str, Any]:
        """What it is asked for, as JSON types."""
        return {"toolkit": self.toolkit, "name": self.name, "form": self.form, "setting": dict(self.setting)}


def _onnxruntime(name: str, **arguments: Any) -> Entrant:
    return Entrant("onnxruntime", name, "onnxruntime", "with_onnxruntime", setting={"arguments": arguments})


def _nncf(name: str, ranges: Mapping[str, str] | None = None, **arguments: Any) -> Entrant:
    return Entrant("nncf", name, "nncf", "with_nncf", setting={"arguments": arguments, **(ranges or {})})


def _olive(name: str, **configuration: Any) -> Entrant:
    asked = {"pass": {"type": "OnnxStaticQuantization", **configuration}}
    return Entrant("olive", name, "olive", "with_olive", setting=asked)


def _litert(recipe: str) -> Entrant:
    place = "ai-edge-quantizer"
    return Entrant(place, recipe, place, "with_ai_edge_quantizer", "tflite", {"recipe": recipe})


def _torchao(name: str, **setting: Any) -> Entrant:
    return Entrant("torchao", name, CONVERTER, "with_torchao", setting=setting)


def _ours(recipe: str, form: str = "onnx", *, trains: bool = False) -> Entrant:
    return Entrant(OURS, recipe, "", "with_thresher", form, {"recipe": recipe}, trains)


PEERS = (
    _onnxruntime("default"),
    _onnxruntime("u8s8 per channel", activation_type="QUInt8", weight_type="QInt8", per_channel=True),
    _onnxruntime(
        "u8s8 per channel, reduced", activation_type="QUInt8", weight_type="QInt8", per_channel=True, reduce_range=True
    ),
    _onnxruntime("u8u8 per channel", activation_type="QUInt8", weight_type="QUInt8", per_channel=True),
    _onnxruntime(
        "u8u8 per channel, percentile",
        activation_type="QUInt8",
        weight_type="QUInt8",
        per_channel=True,
        calibrate_method="Percentile",
    ),
    _litert("static_wi8_ai8"),
    _litert("dynamic_wi8_afp32"),
    _litert("weight_only_wi8_afp32"),
    _litert("weight_only_wi4_afp32"),
    _nncf("default"),
    _nncf("mixed, minmax, full bias correction", {"ranges": "MINMAX"}, preset="MIXED", fast_bias_correction=False),
    _olive("default"),
    _olive("u8s8 per channel", activation_type="uint8", precision="int8", per_channel=True),
    _olive("u8u8 per channel", activation_type="uint8", precision="uint8", per_channel=True, prepare_qdq_config=False),
    _torchao("xnnpack", quantizer="xnnpack", per_channel=False),
    _torchao("xnnpack per channel", quantizer="xnnpack", per_channel=True),
    _torchao("x86", quantizer="x86"),
)
RECIPES = (
    _ours("int8-u8u8-corrected"),
    _ours("int8-u8u8-minmax"),
    _ours("codebook-4bit"),
    _ours("tflite-int8-static", "tflite"),
    _ours("int4-weights"),
    _ours("int8-u8s8-minmax"),
    _ours("int8-s8s8-minmax"),
    _ours("int8-u8u8-adaptive"),
    _ours("int8-u8u8-mixed"),
    _ours("codebook-power-of-two"),
    _ours("int8-dynamic"),
    _ours("tflite-int8-dynamic", "tflite"),
    _ours("student-int8", trains=True),
)
QUICK = ("default", "static_wi8_ai8", "int8-u8u8-minmax", "int4-weights")
"""What a short run takes, of toolkits that are not left out below."""

NOT_QUICK = ("olive", "torchao", "nncf")


def entrants(model: ModelFolder, quick: bool, *, train: bool = False) -> list[Entrant]:
    """Return who takes part on a model: the first setting of each toolkit, then the second of each, so that a run that
    is stopped has something of all. What its folder has no file for takes no part, and recipes that train where they
    are asked for."""
    every = [each for each in (*RECIPES, *PEERS) if each.form in model.formats]
    every = [each for each in every if each.program != "with_torchao" or model.spec.torch is not None]
    every = sorted(every, key=lambda one: [each for each in every if each.toolkit == one.toolkit].index(one))
    if quick:
        return [each for each in every if each.name in QUICK and each.toolkit not in NOT_QUICK]
    return [each for each in every if train or not each.trains]
