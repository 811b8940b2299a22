"""A picture longer than any file's is refused before tables of its size are made."""

import numpy as np
import pytest

from agent.errors import BadQuery
from agent.inference.pre import Place, make_pre
from wire import spec


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "area"])
def test_a_long_thin_picture_is_refused(interpolation: str) -> None:
    tensor = spec.TensorSpec(name="x", shape=(-1, 3, 8, 8))
    fields = {"height": 8, "width": 8, "interpolation": interpolation, "input": tensor}
    pre = make_pre(spec.ImagePre.model_validate(fields), Place({"x": (-1, 3, 8, 8)}))
    with pytest.raises(BadQuery, match="edges of at most 65535"):
        pre.prepare(np.zeros((1, 70_000, 1), np.uint8))
