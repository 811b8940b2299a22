"""Pre- and post-processing as data: what a worker does around an inference, declared in the bundle.

Decides: the vocabulary and its defaults. Leaves out: how it is computed (`agent/inference/pipeline.py`).
A query is one sample: for `series` an array (channels, length), for `table` an array (features,), for `image` pixels or
a file's bytes, for `audio` a waveform, for `text` bytes.
"""

from typing import Annotated

from pydantic import Field

from wire.base import Message
from wire.spec.audio import AudioPre
from wire.spec.base import DType, Kind, Quantisation, TensorSpec
from wire.spec.image import ImagePre
from wire.spec.normalise import MinMax, NoNormalisation, Normalise, Robust, ZScore
from wire.spec.post import ClassificationPost, DetectionPost, RegressionPost, SegmentationPost
from wire.spec.series import SeriesPre, TablePre, TensorPre
from wire.spec.state import StateTensor
from wire.spec.text import TextPre

__all__ = [
    "AudioPre", "ClassificationPost", "DType", "DetectionPost", "ImagePre", "Kind", "MinMax", "NoNormalisation",
    "Normalise", "Pipeline", "PostSpec", "PreSpec", "Quantisation", "RegressionPost", "Robust", "SegmentationPost",
    "SeriesPre", "StateTensor", "TablePre", "TensorPre", "TensorSpec", "TextPre", "ZScore", "bundle_files",
    "input_tensors", "output_tensors",
]  # fmt: skip

PreSpec = Annotated[SeriesPre | TablePre | TensorPre | ImagePre | AudioPre | TextPre, Field(discriminator="kind")]
PostSpec = Annotated[
    ClassificationPost | RegressionPost | DetectionPost | SegmentationPost, Field(discriminator="kind")
]


class Pipeline(Message):
    """Everything around one inference. `state`: what goes from one query to the next; a model without has none."""

    pre: PreSpec
    post: PostSpec
    state: tuple[StateTensor, ...] | None = Field(default=None, min_length=1, max_length=64)


def input_tensors(pre: PreSpec) -> tuple[TensorSpec, ...]:
    """Return the model's inputs that `pre` fills, in its own order."""
    more = (pre.mask, pre.types) if isinstance(pre, TextPre) else ()
    return (pre.input, *(tensor for tensor in more if tensor is not None))


def output_tensors(post: PostSpec) -> tuple[TensorSpec, ...]:
    """Return the model's outputs that `post` reads, in its own order."""
    more = post.scores if isinstance(post, DetectionPost) else None
    return (post.output,) if more is None else (post.output, more)


def bundle_files(pipeline: Pipeline) -> dict[str, str]:
    """Return the files of the bundle's folder that the specification names, by the key that names them."""
    named = {
        "pre.tokeniser": pipeline.pre.tokeniser if isinstance(pipeline.pre, TextPre) else None,
        "post.anchors_file": pipeline.post.anchors_file if isinstance(pipeline.post, DetectionPost) else None,
    }
    return {key: name for key, name in named.items() if name is not None}
