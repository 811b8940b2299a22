"""Frames of a recorded file, read by the real reader process: their form, their order, and a camera that vanishes."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from agent.gateway.base import SourceLost
from agent.gateway.sources import make_source
from agent.gateway.sources.camera import reader
from agent.gateway.sources.camera.frames import HEAD
from agent.serve.settings import CameraSource
from tests.unit.agent.gateway.sources.source_kit import ANSWERED, Intake, array_of, play, surroundings, until

WIDTH, HEIGHT = 64, 48
COLOURS = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255), (0, 0, 0)]
"""Blue, green, red, as OpenCV has them."""


def record(path: Path, frames: int = 5) -> Path:
    """Record frames of one colour each as motion JPEG."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((HEIGHT, WIDTH, 3), COLOURS[number % len(COLOURS)], dtype=np.uint8))
    writer.release()
    return path


def camera(device: Path | str, **settings: Any) -> CameraSource:
    given = {"kind": "camera", "device": str(device), "rate_hz": 100.0, "width": WIDTH, "height": HEIGHT, **settings}
    return CameraSource.model_validate(given)


def frames_of(folder: Path, settings: CameraSource) -> Intake:
    intake = Intake()
    play(lambda: make_source(settings, surroundings(folder)).run(intake))
    return intake


def test_a_file_gives_each_frame_once_and_ends(tmp_path: Path) -> None:
    intake = frames_of(tmp_path, camera(record(tmp_path / "v.avi")))
    assert len(intake.queries) == 5
    assert {(query.dtype, query.shape) for query in intake.queries} == {("float32", (3, HEIGHT, WIDTH))}
    means = [array_of(query).mean(axis=(1, 2)) for query in intake.queries]
    rgb = [[c / 255 for c in reversed(colour)] for colour in COLOURS]
    assert np.allclose(means, rgb, atol=0.02), "red, green and blue in this order, from 0 to 1"
    assert {query.origin["source"] for query in intake.queries} == {"camera"}


@pytest.mark.parametrize(
    ("form", "shape", "second"),
    [
        ({"colour": "bgr", "layout": "HWC", "dtype": "uint8"}, (HEIGHT, WIDTH, 3), [0, 255, 0]),
        ({"colour": "rgb", "layout": "CHW", "dtype": "uint8", "width": 20, "height": 30}, (3, 30, 20), [0, 255, 0]),
        ({"colour": "grey", "layout": "CHW", "dtype": "uint8", "width": 100, "height": 80}, (1, 80, 100), [150]),
        ({"colour": "grey", "layout": "HWC", "dtype": "float32"}, (HEIGHT, WIDTH, 1), [0.587]),
    ],
)
def test_forms(tmp_path: Path, form: dict[str, Any], shape: tuple[int, ...], second: list[float]) -> None:
    intake = frames_of(tmp_path, camera(record(tmp_path / "v.avi"), **form))
    assert {query.shape for query in intake.queries} == {shape}
    axes = (1, 2) if form["layout"] == "CHW" else (0, 1)
    tolerance = 4 if form["dtype"] == "uint8" else 0.02
    assert np.allclose(array_of(intake.queries[1]).mean(axis=axes), second, atol=tolerance)


def test_the_newest_frame_of_a_camera_is_sent_and_the_others_are_dropped() -> None:
    """A camera's frames are played by a stand-in for OpenCV's capture, since a test has no camera."""

    class Playing:
        def __init__(self) -> None:
            self.number = 0

        def grab(self) -> bool:
            self.number += 1
            return self.number < 40

        def read(self) -> tuple[bool, NDArray[Any]]:
            return self.grab(), np.full((2, 2, 3), self.number, dtype=np.uint8)

    frames = reader.Frames.__new__(reader.Frames)
    frames._device, frames._camera, frames._capture, frames._read = "/dev/video9", True, Playing(), 0
    frames._settings = {"width": 2, "height": 2, "colour": "bgr", "layout": "HWC", "dtype": "uint8"}
    seen = []
    for _ in range(3):
        for _ in range(10):
            frames.drop()
        seen.append(frames.next()[0])
    assert seen == [11, 22, 33]
    for _ in range(6):
        frames.drop()
    with pytest.raises(reader.Lost, match="unplugged"):
        frames.drop()


class Lost:
    """A camera source that is expected to be lost, after a fault at its third frame."""

    def __init__(self, folder: Path, settings: CameraSource) -> None:
        self.intake = Intake()
        self._source = make_source(settings, surroundings(folder))

    def play(self, fault: Callable[[], Awaitable[None]]) -> str:
        said: list[str] = []

        async def scene() -> None:
            running = asyncio.create_task(self._source.run(self.intake))
            await until(lambda: len(self.intake.queries) >= 3 or running.done())
            await fault()
            with pytest.raises(SourceLost) as caught:
                await running
            said.append(str(caught.value))

        play(scene)
        return said[0]


def readers_of(parent: int) -> list[int]:
    """Return the reader processes that `parent` has."""
    return [
        child.pid
        for child in psutil.Process(parent).children()
        if any("camera.reader" in word for word in child.cmdline())
    ]


def test_a_removed_file_is_lost_when_it_should_begin_again(tmp_path: Path) -> None:
    path = record(tmp_path / "v.avi", frames=20)

    async def remove() -> None:
        path.unlink()

    said = Lost(tmp_path, camera(path, repeat=True)).play(remove)
    assert "is not there" in said
    assert readers_of(os.getpid()) == []


def test_a_truncated_file_is_lost_and_not_taken_for_its_end(tmp_path: Path) -> None:
    path = record(tmp_path / "v.avi", frames=200)

    async def truncate() -> None:
        os.truncate(path, path.stat().st_size // 3)

    said = Lost(tmp_path, camera(path)).play(truncate)
    assert "of 200 frames" in said


def test_a_killed_reader_is_lost_and_the_next_run_begins_again(tmp_path: Path) -> None:
    settings = camera(record(tmp_path / "v.avi", frames=500))

    async def kill() -> None:
        [pid] = readers_of(os.getpid())
        os.kill(pid, signal.SIGKILL)

    assert "ended" in Lost(tmp_path, settings).play(kill)
    again = Intake(lambda _: ANSWERED)

    async def scene() -> None:
        running = asyncio.create_task(make_source(settings, surroundings(tmp_path)).run(again))
        await until(lambda: len(again.queries) > 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(scene)
    assert readers_of(os.getpid()) == [], "a cancelled source takes its reader with it"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is not there"), (b"no video at all, but some bytes" * 99, "cannot be opened"), (b"", "cannot be opened")],
)
def test_what_is_no_camera_says_what_to_do(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "v.avi"
    if content is not None:
        path.write_bytes(content)

    async def scene() -> None:
        with pytest.raises(SourceLost, match=said):
            await make_source(camera(path), surroundings(tmp_path)).run(Intake())

    play(scene)


def test_a_device_that_is_no_camera_is_lost(tmp_path: Path) -> None:
    """A character device, as a camera is one."""
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    async def scene() -> None:
        with pytest.raises(SourceLost, match="/dev/null"):
            await make_source(camera("/dev/null"), surroundings(tmp_path)).run(Intake())

    play(scene)


def test_without_opencv_the_extra_is_named(tmp_path: Path) -> None:
    """A folder before all others holds a `cv2` that cannot be imported."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    settings = f'{{"device": "{record(tmp_path / "v.avi")}", "parent": {os.getpid()}}}'
    command = [sys.executable, "-m", "agent.gateway.sources.camera.reader", settings]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    done = subprocess.run(command, input=b"\n", capture_output=True, env=environment, timeout=60)
    kind, n_bytes = HEAD.unpack(done.stdout[: HEAD.size])
    assert (kind, n_bytes) == (b"E", len(done.stdout) - HEAD.size)
    assert b"thresher[camera]" in done.stdout


def test_the_gateway_side_loads_no_opencv_and_no_numpy() -> None:
    code = (
        "import sys; from agent.gateway import mqtt; from agent.gateway.sources import mqtt, replay, folder\n"
        "from agent.gateway.sources.camera import source; print(sorted({'cv2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
