"""How a variant is run on this machine, which may lack its engine, or the hardware that its options name.

Decides: what answers in its place, and the note that says so: LiteRT for tflite-runtime, which run the same files; the
converter environment for ExecuTorch; the processor for a provider or a delegate. Accuracy counts as the devices measure
it, and they hold these answers against their own before anything is served. Leaves out: running it (`run.py`).

    on_host(variant).engine  # "litert" for a variant of tflite-runtime, where that is not installed
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from controller.compress.variant import Variant
from controller.convert.environments import Environment, environment
from controller.errors import UnusableModel

_DISTRIBUTIONS = {
    "onnxruntime": "onnxruntime",
    "litert": "ai-edge-litert",
    "tflite-runtime": "tflite-runtime",
    "executorch": "executorch",
}
_STAND_INS = {"tflite-runtime": "litert"}
_ENVIRONMENTS = {"executorch": "torch"}
"""Engine -> the converter environment that has it."""

_HARDWARE = {"provider": "cpu", "delegate": "none"}
"""Options that name hardware -> what means the processor."""
_DEVICES_ALONE = frozenset(
    {*_HARDWARE, "provider_library", "provider_options", "delegate_library", "delegate_options", "fallback", "threads"}
)


@dataclass(frozen=True)
class Host:
    """How it is run. environment: the converter environment; null: the agent's worker, beside the controller."""

    engine: str
    version: str
    options: Mapping[str, Any]
    environment: Environment | None = None
    notes: tuple[str, ...] = ()


def on_host(variant: Variant) -> Host:
    """Return how a variant is run here.

    Raises:
        UnusableModel: Its engine is not here, nor what could stand for it; the text names what to install.
    """
    engine, options, hardware = variant.engine, _options(variant), _hardware_notes(variant)
    if (found := _installed(engine)) is not None:
        return Host(engine, found, options, notes=hardware)
    stand_in = _STAND_INS.get(engine)
    if stand_in is not None and (found := _installed(stand_in)) is not None:
        note = f"run here by {stand_in}, which runs the same file: {engine} is not installed here"
        return Host(stand_in, found, options, notes=(note, *hardware))
    known = environment(_ENVIRONMENTS[engine]) if engine in _ENVIRONMENTS else None
    if known is not None and (found := known.versions.get(_DISTRIBUTIONS[engine])) is not None:
        note = f"run here in the converter environment {known.name}: {engine} is not installed here"
        return Host(engine, found, options, known, notes=(note, *hardware))
    raise UnusableModel(f"the engine {engine} is not installed here; run  {_remedy(engine)}")


def engine_version(engine: str) -> str:
    """Return the version of an engine that is installed here.

    Raises:
        UnusableModel: It is not.
    """
    if (found := _installed(engine)) is None:
        raise UnusableModel(f"the engine {engine} is not installed here; run  pip install 'thresher[{engine}]'")
    return found


def _installed(engine: str) -> str | None:
    try:
        return version(_DISTRIBUTIONS[engine])
    except PackageNotFoundError:
        return None


def _options(variant: Variant) -> dict[str, Any]:
    """Return the options that change what is computed; hardware and threads are the device's."""
    return {name: value for name, value in variant.engine_options.items() if name not in _DEVICES_ALONE}


def _hardware_notes(variant: Variant) -> tuple[str, ...]:
    asked = {name: variant.engine_options.get(name) for name in _HARDWARE}
    return tuple(
        f"run here on the processor: what {name} {value} answers, its devices say"
        for name, value in asked.items()
        if value not in (None, _HARDWARE[name])
    )


def _remedy(engine: str) -> str:
    if engine in _ENVIRONMENTS:
        return f"controller model converters install {_ENVIRONMENTS[engine]}"
    return f"pip install 'thresher[{_STAND_INS.get(engine, engine)}]'"
