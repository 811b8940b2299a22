"""Both decoders of files."""

import sys

import pytest


@pytest.fixture(params=("opencv", "pillow"))
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """OpenCV, which is asked first, or Pillow, as where OpenCV is not installed."""
    name: str = request.param
    if name == "pillow":
        monkeypatch.setitem(sys.modules, "cv2", None)
    return name
