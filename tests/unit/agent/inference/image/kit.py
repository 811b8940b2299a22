"""Specifications of pictures, random pictures, and what the agent makes of them."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.inference.pre import Place, make_pre
from agent.inference.pre.image import Image
from wire import spec

Bytes = NDArray[np.uint8]


def image_pre(height: int, width: int, dtype: spec.DType = "float32", **fields: Any) -> spec.ImagePre:
    """Return a specification; its pixels are not scaled unless `fields` say so."""
    channels = 1 if fields.get("colour") == "grey" else 3
    axes = (channels, height, width) if fields.get("layout", "NCHW") == "NCHW" else (height, width, channels)
    quantisation = fields.pop("quantisation", None)
    tensor = spec.TensorSpec(name="x", shape=(-1, *axes), dtype=dtype, quantisation=quantisation)
    return spec.ImagePre(height=height, width=width, input=tensor, **{"scale": 1.0, **fields})


def made(pre: spec.ImagePre) -> Image:
    image = make_pre(pre, Place({"x": pre.input.shape}))
    assert isinstance(image, Image)
    return image


def prepared(pre: spec.ImagePre, query: NDArray[Any]) -> NDArray[Any]:
    """Return what goes into the model, without its batch axis."""
    query = made(pre).prepare(query)[0]
    return query.copy()


def resized(pre: spec.ImagePre, query: NDArray[Any]) -> Bytes:
    """Return the pixels that `pre`, which scales nothing, makes of a picture: shape (height, width, 3)."""
    return prepared(pre, query).transpose(1, 2, 0).astype(np.uint8)


def picture(rows: int, columns: int, channels: int = 3, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, channels), dtype=np.uint8)


def smooth(rows: int, columns: int) -> Bytes:
    """Return a picture like those that JPEG is made for."""
    across, down = np.linspace(0, 255, columns), np.linspace(0, 255, rows)[:, np.newaxis]
    planes = (across + 0 * down, down + 0 * across, (across + down) / 2)
    return np.stack(planes, axis=2).astype(np.uint8)


@st.composite
def cases(draw: st.DrawFn) -> tuple[spec.ImagePre, Bytes]:
    """A specification of any kind, and a picture of any size and number of channels."""
    size = st.integers(1, 40)
    height, width = draw(size), draw(size)
    fit = draw(st.sampled_from(["stretch", "letterbox", "crop"]))
    interpolation = draw(st.sampled_from(["nearest", "bilinear", "area"]))
    fields: dict[str, Any] = {
        "fit": fit,
        "short_edge": max(height, width) + draw(st.integers(0, 9)) if fit == "crop" else None,
        "interpolation": interpolation,
        "antialias": draw(st.booleans()) if interpolation == "bilinear" else False,
        "query_colour": draw(st.sampled_from(["rgb", "bgr"])),
        "colour": draw(st.sampled_from(["rgb", "bgr", "grey"])),
        "layout": draw(st.sampled_from(["NCHW", "NHWC"])),
        "pad_value": draw(st.integers(0, 255)),
    }
    channels, seed = draw(st.sampled_from([1, 3, 4])), draw(st.integers(0, 99))
    return image_pre(height, width, **fields), picture(draw(size), draw(size), channels, seed)
