"""A camera's or a video file's frames on request: the process in which OpenCV lives.

Decides: the newest frame is the one that is sent (a camera's others are dropped undecoded, a file's come one by one),
and its form: size, colour, axes, numbers. A line on stdin asks for a frame; stdout carries, for each, a head of five
bytes (kind, length) and its content: `F` a frame's bytes, `E` why there are no more, `Z` the file's end. It ends when
stdin does. Leaves out: how often a frame is wanted, and what is done without one (`source.py`).

    python -m agent.gateway.sources.camera.reader '{"device": "/dev/video0", "width": 224, "height": 224, ...}'
"""

import json
import os
import select
import stat
import sys
from typing import Any, BinaryIO

from agent.gateway.sources.camera.frames import END, FAULT, FRAME, HEAD, LARGEST_FAULT_BYTES
from agent.launch import bind

MOST_OF_A_FILE = 0.9
"""Some containers only estimate how many frames they hold; a file that ends before this share was cut off."""


class Lost(Exception):
    """There are no more frames."""


class Ended(Exception):
    """The file was read to its end, and is not to be repeated."""


class Frames:
    """An open camera or file."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Open it.

        Raises:
            Lost: It cannot be opened.
        """
        self._settings = settings
        self._device: str = settings["device"]
        self._camera = _is_camera(self._device)
        self._read = 0
        self._capture = self._open()

    def next(self) -> bytes:
        """Return the newest frame, ready for the worker.

        Raises:
            Lost: No frame comes.
            Ended: The file is over.
        """
        taken, frame = self._capture.read()
        if not taken and not self._camera:
            self._check_the_end()
            self._capture.release()
            self._capture = self._open()
            taken, frame = self._capture.read()
        if not taken or frame is None:
            raise Lost(f"{self._device} gives no frame: is the camera connected, and used by nobody else?")
        self._read += 1
        return formed(frame, self._settings)

    def drop(self) -> None:
        """Let a camera's next frame pass; a file waits.

        Raises:
            Lost: No frame comes.
        """
        if self._camera and not self._capture.grab():
            raise Lost(f"{self._device} gives no frame: it may have been unplugged")

    @property
    def flows(self) -> bool:
        """Whether frames come whether they are wanted or not."""
        return self._camera

    def _check_the_end(self) -> None:
        import cv2

        promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if self._read == 0 or self._read < MOST_OF_A_FILE * promised:
            raise Lost(f"{self._device} ends after {self._read} of {promised} frames: it was cut off, or changed")
        if not self._settings["repeat"]:
            raise Ended

    def _open(self) -> Any:
        import cv2

        cv2.setNumThreads(1)  # the cores are the workers'
        self._read = 0
        if not os.path.exists(self._device):
            raise Lost(f"{self._device} is not there: connect the camera, or set `device`")
        if not os.access(self._device, os.R_OK):
            raise Lost(f"{self._device} may not be read: add the agent's user to the group `video`")
        capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2 if self._camera else cv2.CAP_ANY)
        if not capture.isOpened():
            raise Lost(f"{self._device} cannot be opened: no camera or video, or used by somebody else")
        if self._camera:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture


def formed(frame: Any, settings: dict[str, Any]) -> bytes:
    """Return a frame's bytes in the size, colour, axes and numbers that are asked for."""
    import cv2
    import numpy as np

    size = (settings["width"], settings["height"])
    if frame.ndim == 2:
        frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
    if (frame.shape[1], frame.shape[0]) != size:
        shrinks = size[0] * size[1] < frame.shape[0] * frame.shape[1]
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if settings["colour"] != "bgr":
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB if settings["colour"] == "rgb" else cv2.COLOR_BGR2GRAY)
    pixels = frame.reshape(frame.shape[0], frame.shape[1], -1)
    if settings["layout"] == "CHW":
        pixels = pixels.transpose(2, 0, 1)
    if settings["dtype"] == "float32":
        pixels = pixels.astype(np.float32) / np.float32(255.0)
    return np.ascontiguousarray(pixels).tobytes()


def main(arguments: list[str]) -> int:
    """Send frames until stdin ends, or there are no more; return the exit code."""
    settings = json.loads(arguments[0])
    bind(settings["parent"])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to the log, not between the frames
    try:
        frames = Frames(settings)
        while _wanted(frames):
            _send(out, FRAME, frames.next())
    except Ended:
        _send(out, END, b"")
    except ImportError as exc:
        _fault(out, f"OpenCV cannot be loaded ({exc}): pip install 'thresher[camera]'")
    except Lost as exc:
        _fault(out, str(exc))
    return 0


def _wanted(frames: Frames) -> bool:
    """Wait until a frame is asked for, letting a camera's pass; return False at stdin's end."""
    while frames.flows and not select.select([0], [], [], 0.0)[0]:
        frames.drop()
    return bool(os.read(0, 1))


def _send(out: BinaryIO, kind: bytes, content: bytes) -> None:
    out.write(HEAD.pack(kind, len(content)))
    out.write(content)
    out.flush()


def _fault(out: BinaryIO, text: str) -> None:
    _send(out, FAULT, text.encode()[:LARGEST_FAULT_BYTES])


def _is_camera(device: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(device).st_mode)
    except OSError:
        return device.startswith("/dev/")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
