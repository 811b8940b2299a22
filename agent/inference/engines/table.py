"""The engines by name: what drives each, which packages bring it, what it runs. One list for workers and inventory.

Decides: names, and which package stands for an engine where several bring it. Leaves out: whether it works here
(`probe.py`). Light: the control process reads it, and nothing of an engine is imported.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One engine.

    module, attribute: where its class stands. library: the package that it imports. packages: distributions that bring
    that package, the registry's own first, then those that vendors build; first found, first used. formats: of bundles.
    extra: of this distribution, for a message that says what to install. below: the folder of `library` that holds what
    is loaded, where that is not all of it.
    """

    module: str
    attribute: str
    library: str
    packages: tuple[str, ...]
    formats: tuple[str, ...]
    extra: str
    below: str = ""


TABLE: dict[str, Entry] = {
    "onnxruntime": Entry(
        "agent.inference.engines.onnxruntime",
        "OnnxRuntimeEngine",
        "onnxruntime",
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-vitisai"),
        ("onnx",),
        "onnxruntime",
    ),
    "litert": Entry(
        "agent.inference.engines.litert",
        "LiteRtEngine",
        "ai_edge_litert",
        ("ai-edge-litert", "ai-edge-litert-nightly"),
        ("tflite",),
        "litert",
    ),
    "tflite-runtime": Entry(
        "agent.inference.engines.tflite_runtime",
        "TfliteRuntimeEngine",
        "tflite_runtime",
        ("tflite-runtime",),
        ("tflite",),
        "tflite-runtime",
    ),
    "executorch": Entry(
        "agent.inference.engines.executorch",
        "ExecutorchEngine",
        "executorch",
        ("executorch",),
        ("executorch",),
        "executorch",
        below="lib",
    ),
}
"""engine name -> entry."""
