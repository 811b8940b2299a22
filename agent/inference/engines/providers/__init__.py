"""Execution providers of ONNX Runtime: what each is called, how it is set up, and whether a session really uses it.

Decides: their options, and what counts as used: listed in the session, and given at least one operator where ONNX
Runtime tells. A wheel lists providers that cannot work on its device (CUDA without a GPU), and falls back in silence.
Leaves out: TensorRT's caches (`tensorrt.py`).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.inference.engines.base import Model

CPU = "CPUExecutionProvider"
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
"""Session setting since ONNX Runtime 1.24: which provider took which operator can then be asked for."""


@dataclass(frozen=True)
class Asked:
    """What a session is made for: the provider's own options from the bundle, the engine's threads, and the model."""

    options: Mapping[str, Any]
    threads: int
    model: Model


Options = dict[str, str]


@dataclass(frozen=True)
class Provider:
    """One provider.

    full_name: as ONNX Runtime calls it. setup: its options unless the bundle says otherwise. behind: providers that
    take what it leaves, before the processor does. own_threads: it brings its own thread pool, and the session's would
    only compete with it. compiles: a session takes long, since the model is compiled for the device. brought_by: what
    to install.
    """

    full_name: str
    brought_by: str
    setup: Callable[[Asked], Options] = lambda _: {}
    behind: tuple[str, ...] = ()
    own_threads: bool = False
    compiles: bool = False


def _tensorrt(asked: Asked) -> Options:
    from agent.inference.engines.providers.tensorrt import options_for

    return options_for(asked.model)


PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider(CPU, "onnxruntime"),
    "xnnpack": Provider(
        "XnnpackExecutionProvider",
        "a build of onnxruntime with XNNPACK",
        lambda asked: {"intra_op_num_threads": str(asked.threads)},
        own_threads=True,
    ),
    # kSameAsRequested: a board's GPU shares its memory with everything else, and the default doubles what it takes.
    "cuda": Provider(
        "CUDAExecutionProvider", "onnxruntime-gpu", lambda _: {"arena_extend_strategy": "kSameAsRequested"}
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider", "onnxruntime-gpu, with TensorRT", _tensorrt, behind=("cuda",), compiles=True
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        "onnxruntime-openvino",
        lambda asked: {"device_type": "CPU", "num_of_threads": str(asked.threads)},
        compiles=True,
    ),
    "acl": Provider("ACLExecutionProvider", "a build of onnxruntime with the Arm Compute Library"),
    "qnn": Provider(
        "QNNExecutionProvider",
        "a build of onnxruntime with Qualcomm's QNN",
        lambda _: {"backend_path": "libQnnHtp.so"},
        compiles=True,
    ),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime on macOS", lambda _: {"ModelFormat": "MLProgram"}),
    "vitisai": Provider("VitisAIExecutionProvider", "onnxruntime-vitisai", compiles=True),
}
"""The option's value -> provider."""


def chain(name: str, asked: Asked) -> list[tuple[str, Options]]:
    """Return providers with their options, in the order in which they may take operators; the processor is the last.

    Options of the bundle go to the provider that it names.
    """
    provider = PROVIDERS[name]
    given = {key: _text(value) for key, value in asked.options.items()}
    found = [(provider.full_name, {**provider.setup(asked), **given})]
    for each in provider.behind:
        found.append((PROVIDERS[each].full_name, PROVIDERS[each].setup(asked)))
    return found if provider.full_name == CPU else [*found, (CPU, {})]


def missing(name: str, available: list[str]) -> str | None:
    """Return why a provider is not in this build of ONNX Runtime; null where it is listed."""
    provider = PROVIDERS[name]
    if provider.full_name in available:
        return None
    has = ", ".join(available) or "none"
    return f"this onnxruntime has no {provider.full_name} (it has {has}): install {provider.brought_by}"


def unused(name: str, session: Any, said: str = "") -> str | None:
    """Return why a session does not really use a provider; null where it does.

    Args:
        name: The provider's option.
        session: Of ONNX Runtime.
        said: What the provider's libraries said as the session was made.
    """
    provider = PROVIDERS[name]
    uses = session.get_providers()
    if provider.full_name not in uses:
        because = f": {said}" if said else ""
        return f"{provider.full_name} is listed and cannot be used here, the session uses {', '.join(uses)}{because}"
    taken = operators(session)
    if taken is not None and not taken.get(provider.full_name):
        takers = ", ".join(f"{taker} {count}" for taker, count in sorted(taken.items())) or "nobody"
        return f"{provider.full_name} takes none of the model's operators ({takers})"
    return None


def operators(session: Any) -> dict[str, int] | None:
    """Return how many of the model's operators each provider took; null where ONNX Runtime does not tell."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    taken: Counter[str] = Counter()
    for part in ask():
        taken[part.ep_name] += len(part.get_nodes())
    return dict(taken)


def _text(value: Any) -> str:
    """ONNX Runtime takes text alone, and Python's `True` is not what it reads as one."""
    return ("1" if value else "0") if isinstance(value, bool) else str(value)
