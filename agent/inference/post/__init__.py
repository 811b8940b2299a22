"""Post-processing: the engine's outputs into an answer, as the specification says.

Decides: which module stands for which kind; a kind's module is imported when a bundle asks for it. Leaves out: the
arithmetic (`agent/inference/kernels/`).
"""

from importlib import import_module
from typing import Any

from agent.inference.post.base import Answer, Post, Surroundings
from wire import spec

__all__ = ["Answer", "Post", "Surroundings", "make_post"]

MODULES = {
    "classification": "Classification",
    "detection": "Detection",
    "regression": "Regression",
    "segmentation": "Segmentation",
}
"""Kind, which is also the module's name -> its class."""


def make_post(post: spec.PostSpec, surroundings: Surroundings) -> Post:
    """Return the post-processing that `post` declares.

    Raises:
        BadBundle: The specification contradicts itself, or needs a file that is not there.
    """
    module: Any = import_module(f"agent.inference.post.{post.kind}")
    made: Post = getattr(module, MODULES[post.kind])(post, surroundings)
    return made
