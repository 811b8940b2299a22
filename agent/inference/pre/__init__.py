"""Pre-processing: a query into the engine's input buffers, as the specification says.

Decides: which module stands for which kind. A kind's module is imported when a bundle asks for it, so that a worker
loads nothing that its model does not need. Leaves out: the arithmetic (`agent/inference/kernels/`).
"""

from importlib import import_module
from typing import Any

from agent.inference.pre.base import Place, Pre
from wire import spec

__all__ = ["Place", "Pre", "make_pre"]

MODULES = {
    "audio": "Audio",
    "image": "Image",
    "series": "Series",
    "table": "Table",
    "tensor": "Tensor",
    "text": "Text",
}
"""Kind, which is also the module's name -> its class."""


def make_pre(pre: spec.PreSpec, place: Place) -> Pre:
    """Return the pre-processing that `pre` declares.

    Raises:
        BadBundle: The specification contradicts itself or the model, or needs a file that is not there.
        EngineUnavailable: It needs a library that is not installed.
    """
    module: Any = import_module(f"agent.inference.pre.{pre.kind}")
    made: Pre = getattr(module, MODULES[pre.kind])(pre, place)
    return made
