"""Fusion audit: what the engine made of a quantised graph, read from the graph that it optimised itself.

Decides: which operators count as float and which as quantised computation. A variant whose convolutions stay float will
not be fast; the audit says so before a device spends minutes on it. Leaves out: the time itself (the trials).

    audit_onnx(Path("int8.onnx")).quantised_ratio  # 1.0 when every convolution and product runs in integers
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from controller.errors import UnusableModel

_QUANTISED = frozenset(
    {
        *("QLinearConv", "QLinearMatMul", "QGemm", "QAttention", "QEmbedLayerNormalization", "QMoE"),
        *("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"),
        *("QLinearConvTranspose", "NhwcQLinearConv", "MatMulNBits"),
    }
)
_FLOAT = frozenset(
    {
        *("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
        *("GRU", "LSTM", "RNN", "Attention", "MultiHeadAttention"),
    }
)
_SLOW = {"ConvInteger": "integer convolutions of dynamic quantisation run several times slower than float ones"}


@dataclass(frozen=True)
class FusionAudit:
    """Counts of compute operators in the graph that the engine runs.

    `conversions`: operators that only change precision.
    """

    quantised: int
    float_: int
    conversions: int
    operators: dict[str, int]
    warning: str = ""

    @property
    def quantised_ratio(self) -> float:
        """Share of the compute operators that run quantised, 0 to 1."""
        every = self.quantised + self.float_
        return self.quantised / every if every else 0.0


@dataclass(frozen=True)
class Inspection:
    """What a variant's file holds."""

    parameters: int
    macs: int
    operators: dict[str, int]
    uncounted: tuple[str, ...]
    fusion: FusionAudit

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Inspection:
        return cls(
            facts["parameters"],
            facts["macs"],
            facts["operators"],
            tuple(facts["uncounted"]),
            FusionAudit(**facts["fusion"]),
        )


def inspect_file(form: str, path: Path) -> dict[str, Any]:
    """Return the facts of an `Inspection` as JSON types.

    Raises:
        UnusableModel: The engine does not load the file.
    """
    if form == "tflite":
        return _inspect_tflite(path)
    if form == "executorch":
        return _inspect_executorch(path)
    from controller.convert.onnx_io import parse_onnx
    from controller.models.graph import measure_graph

    counts = measure_graph(parse_onnx(path))
    return {**asdict(counts), "fusion": asdict(audit_onnx(path))}


def _inspect_tflite(path: Path) -> dict[str, Any]:
    """LiteRT shows no optimised graph; the file's own operators are counted."""
    from controller.convert.tflite import read_tflite

    facts = read_tflite(path)
    conversions = sum(facts.operators.get(name, 0) for name in ("QUANTIZE", "DEQUANTIZE"))
    audit = FusionAudit(facts.quantised_operators, facts.float_operators, conversions, facts.operators)
    return {
        "parameters": facts.parameters,
        "macs": facts.macs,
        "operators": facts.operators,
        "uncounted": list(facts.uncounted),
        "fusion": asdict(audit),
    }


def _inspect_executorch(path: Path) -> dict[str, Any]:
    """What XNNPACK runs is one block whose weights and operators the program does not show."""
    from controller.convert.executorch import read_executorch

    facts = read_executorch(path)
    operators = {**facts.operators, **facts.delegates}
    return {
        "parameters": 0,
        "macs": 0,
        "operators": operators,
        "uncounted": [f"{name}: a block of a backend, whose parameters and MACs it keeps" for name in facts.delegates],
        "fusion": asdict(FusionAudit(0, 0, 0, operators)),
    }


def audit_onnx(path: Path) -> FusionAudit:
    """Let ONNX Runtime optimise the model for this machine's processor and count what is left.

    Raises:
        UnusableModel: The engine does not load it.
    """
    return count_operators(_optimised_operators(path))


def count_operators(operators: dict[str, int]) -> FusionAudit:
    """Judge operator counts of an optimised graph."""
    conversions = sum(operators.get(name, 0) for name in ("QuantizeLinear", "DequantizeLinear", "Cast"))
    warning = "; ".join(text for name, text in _SLOW.items() if operators.get(name))
    return FusionAudit(
        quantised=sum(count for name, count in operators.items() if name in _QUANTISED),
        float_=sum(count for name, count in operators.items() if name in _FLOAT),
        conversions=conversions,
        operators=dict(sorted(operators.items())),
        warning=warning,
    )


def _optimised_operators(path: Path) -> dict[str, int]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnx
    import onnxruntime

    with TemporaryDirectory(prefix="thresher-fusion-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.optimized_model_filepath = str(optimised)
        try:
            onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # ONNX Runtime's exceptions share no base but this one
            raise UnusableModel(f"{path.name}: ONNX Runtime does not load it: {exc}") from exc
        model = onnx.load(optimised, load_external_data=False)
    return dict(Counter(operator.op_type for operator in model.graph.node))
