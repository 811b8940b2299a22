"""Crops of photographs that other packages bring, for a network without labelled samples.

Decides: which photographs, and that those that judge are others than those that calibrate. A crop is a square of 0.35
to 1 of a photograph's shorter side, at a place and mirrored or not by the seed. Leaves out: what a network makes of
them. The packages are wanted alone, without what they depend on:

    pip install --no-deps scikit-image==0.25.2 gradio==6.31.0
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from controller.errors import UnusableData

SIDE = 224
SEED = 2017
SMALLEST_SHARE = 0.35
CALIBRATION_CROPS, TEST_CROPS = 20, 20
"""Of each photograph."""

CALIBRATION = (
    *(f"skimage/data/{each}" for each in ("astronaut.png", "rocket.jpg", "coins.png", "gravel.png", "ihc.png")),
    *(f"skimage/data/{each}" for each in ("motorcycle_left.png", "clock_motion.png")),
    *(f"gradio/media_assets/images/{each}" for each in ("tower.jpg", "groot.jpeg")),
)
TEST = (
    *(f"skimage/data/{each}" for each in ("chelsea.png", "coffee.png", "camera.png", "retina.jpg", "brick.png")),
    *(f"skimage/data/{each}" for each in ("hubble_deep_field.jpg", "grass.png", "page.png", "moon.png")),
    *(f"gradio/media_assets/images/{each}" for each in ("cheetah.jpg", "cheetah1.jpg", "lion.jpg")),
    "gradio/test_data/cheetah2.jpg",
)

Crops = NDArray[np.uint8]


def crops(site: Path) -> tuple[Crops, Crops]:
    """Return crops that calibrate and crops that judge, uint8, shape (n, 224, 224, 3).

    Args:
        site: Where the packages are installed.
    Raises:
        UnusableData: A photograph is not there.
    """
    random = np.random.default_rng(SEED)
    return _of(site, CALIBRATION, CALIBRATION_CROPS, random), _of(site, TEST, TEST_CROPS, random)


def _of(site: Path, names: Sequence[str], count: int, random: np.random.Generator) -> Crops:
    return np.stack(
        [_crop(picture, random) for picture in (_read(site / name) for name in names) for _ in range(count)]
    )


def _read(path: Path) -> Crops:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as exc:
        raise UnusableData(f"{path.name}: {exc}: pip install --no-deps scikit-image==0.25.2 gradio==6.31.0") from exc


def _crop(picture: Crops, random: np.random.Generator) -> Crops:
    height, width = picture.shape[:2]
    side = int(min(height, width) * random.uniform(SMALLEST_SHARE, 1.0))
    top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
    cut = Image.fromarray(picture[top : top + side, left : left + side])
    made = np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(made[:, ::-1] if random.random() < 0.5 else made)
