"""Execution providers of ONNX Runtime: what each is called, how it is set up, and whether a session really uses it.

Decides: their options, and what counts as used: listed in the session, and given at least one operator where ONNX
Runtime tells. A wheel lists providers that cannot work on its device (CUDA without a GPU), and falls back in silence.
Leaves out: TensorRT's caches (`tensorrt.py`), how a plug-in is registered (`plugins.py`).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import EngineFailed
from agent.inference.engines.base import Model
from agent.inference.engines.providers import plugins
from agent.inference.engines.providers.plugins import Plugin

CPU = "CPUExecutionProvider"
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
"""Session setting since ONNX Runtime 1.24: which provider took which operator can then be asked for."""


@dataclass(frozen=True)
class Asked:
    """What a session is made for.

    options: The provider's own, from the bundle. threads: of the engine. library: of the plug-in that the bundle names;
    mostly empty.
    """

    options: Mapping[str, Any]
    threads: int
    model: Model
    library: str = ""


Options = dict[str, str]


@dataclass(frozen=True)
class Provider:
    """One provider.

    full_name: as ONNX Runtime calls it. setup: its options unless the bundle says otherwise. behind: providers that
    take what it leaves, before the processor does. own_threads: it brings its own thread pool, and the session's would
    only compete with it. compiles: a session takes long, since the model is compiled for the device. brought_by: what
    to install. plugin: how it comes where this build of ONNX Runtime has it not built in; null: in no other way.
    plugin_setup: its options then, where they are others.
    """

    full_name: str
    brought_by: str
    setup: Callable[[Asked], Options] = lambda _: {}
    behind: tuple[str, ...] = ()
    own_threads: bool = False
    compiles: bool = False
    plugin: Plugin | None = None
    plugin_setup: Callable[[Asked], Options] | None = None


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
        "onnxruntime-openvino, or onnxruntime-ep-openvino beside onnxruntime",
        lambda asked: {"device_type": "CPU", "num_of_threads": str(asked.threads)},
        compiles=True,
        plugin=Plugin("onnxruntime_ep_openvino", "CPU"),
    ),
    "acl": Provider("ACLExecutionProvider", "a build of onnxruntime with the Arm Compute Library"),
    "qnn": Provider(
        "QNNExecutionProvider",
        "a build of onnxruntime with Qualcomm's QNN, or onnxruntime-qnn 2 beside onnxruntime",
        lambda _: {"backend_path": "libQnnHtp.so"},
        compiles=True,
        plugin=Plugin("onnxruntime_qnn", "NPU"),
        plugin_setup=lambda _: {},
    ),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime on macOS", lambda _: {"ModelFormat": "MLProgram"}),
    "vitisai": Provider("VitisAIExecutionProvider", "onnxruntime-vitisai", compiles=True),
    "library": Provider("", "a vendor's plug-in, and name it as provider_library", compiles=True, plugin=Plugin()),
}
"""The option's value -> provider."""

PLUGIN_MODULES = tuple(each.plugin.module for each in PROVIDERS.values() if each.plugin and each.plugin.module)
"""Packages that bring a provider beside ONNX Runtime."""


@dataclass(frozen=True)
class Way:
    """How a session comes to a provider.

    chain: providers with their options, in the order in which they may take operators; the processor is the last.
    device: of the plug-in that brings the first; null where it is built in.
    """

    chain: list[tuple[str, Options]]
    device: Any = None

    @property
    def full_name(self) -> str:
        return self.chain[0][0]


def way(name: str, asked: Asked, runtime: Any) -> Way:
    """Return how a session comes to a provider: what is built in comes before a plug-in.

    Raises:
        EngineFailed: It is neither built in nor brought by a plug-in, or the plug-in cannot be used.
    """
    provider = PROVIDERS[name]
    if provider.full_name in runtime.get_available_providers():
        return Way(chain(name, asked))
    if (because := missing(name, runtime, asked.library)) is not None:
        raise EngineFailed(because)
    assert provider.plugin is not None, f"{name} is neither built in nor a plug-in"
    library = asked.library or plugins.library_of(provider.plugin)
    setup = provider.plugin_setup or provider.setup
    kind, options = plugins.split({**setup(asked), **_given(asked)}, provider.plugin)
    device = plugins.device_of(runtime, provider.full_name, library, kind)
    return Way([(str(device.ep_name), options), (CPU, {})], device)


def chain(name: str, asked: Asked) -> list[tuple[str, Options]]:
    """Return built-in providers with their options, in the order in which they may take operators.

    Options of the bundle go to the provider that it names.
    """
    provider = PROVIDERS[name]
    found = [(provider.full_name, {**provider.setup(asked), **_given(asked)})]
    for each in provider.behind:
        found.append((PROVIDERS[each].full_name, PROVIDERS[each].setup(asked)))
    return found if provider.full_name == CPU else [*found, (CPU, {})]


def _given(asked: Asked) -> Options:
    return {key: _text(value) for key, value in asked.options.items()}


def missing(name: str, runtime: Any, library: str = "") -> str | None:
    """Return why a provider is not here: neither in this build of ONNX Runtime nor as a plug-in; null where it is."""
    provider, available = PROVIDERS[name], runtime.get_available_providers()
    if provider.full_name in available:
        return None
    has_plugin = provider.plugin is not None and (bool(library) or provider.plugin.is_installed)
    if has_plugin and plugins.registers(runtime):
        return None
    has = ", ".join(available) or "none"
    remedy = (
        "install onnxruntime 1.23 or newer, which takes plug-ins" if has_plugin else f"install {provider.brought_by}"
    )
    return f"this onnxruntime has no {provider.full_name or 'such provider'} (it has {has}): {remedy}"


def unused(full_name: str, session: Any, said: str = "") -> str | None:
    """Return why a session does not really use a provider; null where it does.

    Args:
        full_name: The provider's.
        session: Of ONNX Runtime.
        said: What the provider's libraries said as the session was made.
    """
    uses = session.get_providers()
    if full_name not in uses:
        because = f": {said}" if said else ""
        return f"{full_name} is listed and cannot be used here, the session uses {', '.join(uses)}{because}"
    taken = operators(session)
    if taken is not None and not taken.get(full_name):
        takers = ", ".join(f"{taker} {count}" for taker, count in sorted(taken.items())) or "nobody"
        return f"{full_name} takes none of the model's operators ({takers})"
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
