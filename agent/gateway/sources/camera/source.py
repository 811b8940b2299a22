"""A camera's frames at a rate: asks its reader for one at each tick, and is lost when none comes.

Decides: pace, patience, and that a reader never outlives its source. Leaves out: devices and pictures (`reader.py`).
"""

import asyncio
import contextlib
import json
import math
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agent.gateway.base import Intake, Query, SourceLost, Surroundings
from agent.gateway.sources.camera.frames import CHANNELS, END, FAULT, FRAME, HEAD, ITEM_BYTES, LARGEST_FAULT_BYTES
from agent.gateway.sources.pace import ticks
from agent.serve.settings import CameraSource

READER = "agent.gateway.sources.camera.reader"
FIRST_WITHIN_S = 60.0
"""Loading OpenCV from a slow card, and a camera that has to wake up."""
NEXT_WITHIN_S = 15.0
"""OpenCV itself gives a V4L2 device up after 10 s."""
PIPE_BYTES = 1024 * 1024


class Camera:
    """A paced source of frames."""

    period_s: float | None

    def __init__(self, settings: CameraSource, surroundings: Surroundings) -> None:
        self.period_s = 1.0 / settings.rate_hz
        self._pace_s = self.period_s
        self._settings = settings
        self._clock = surroundings.clock
        plane = (settings.height, settings.width)
        channels = CHANNELS[settings.colour]
        self._shape = (channels, *plane) if settings.layout == "CHW" else (*plane, channels)
        self._frame_bytes = math.prod(self._shape) * ITEM_BYTES[settings.dtype]

    async def run(self, intake: Intake) -> None:
        """Offer frames until cancelled, or until a file's end.

        Raises:
            SourceLost: The camera, the file or the reader is gone.
        """
        async with self._reader() as reader:
            # The first frame comes before the pace begins: a camera's waking up is no tick that was missed.
            first = await self._frame(reader, FIRST_WITHIN_S)
            async for number in ticks(self._pace_s, self._clock, intake):
                frame = first if number == 0 else await self._frame(reader, NEXT_WITHIN_S)
                if frame is None:
                    return
                intake.offer(self._query(frame, number))

    def _query(self, frame: bytes, number: int) -> Query:
        origin = {"source": "camera", "device": self._settings.device, "frame": number, "at_s": self._clock.now_s()}
        return Query(frame, "raw", self._settings.dtype, self._shape, origin=origin)

    async def _frame(self, reader: Process, within_s: float) -> bytes | None:
        """Ask for a frame; None at the file's end."""
        try:
            async with asyncio.timeout(within_s):
                return await self._asked(reader)
        except TimeoutError as exc:
            raise SourceLost(f"{self._settings.device} gave no frame for {within_s:.0f} s: is it connected?") from exc
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise SourceLost(f"the reader of {self._settings.device} ended: its log lines say why") from exc

    async def _asked(self, reader: Process) -> bytes | None:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(b"\n")
        await reader.stdin.drain()
        kind, n_bytes = HEAD.unpack(await reader.stdout.readexactly(HEAD.size))
        if kind == END:
            return None
        if kind == FAULT and n_bytes <= LARGEST_FAULT_BYTES:
            raise SourceLost((await reader.stdout.readexactly(n_bytes)).decode(errors="replace"))
        if kind != FRAME or n_bytes != self._frame_bytes:
            raise SourceLost(f"the reader of {self._settings.device} sent {n_bytes} bytes for {self._frame_bytes}")
        return await reader.stdout.readexactly(n_bytes)

    @contextlib.asynccontextmanager
    async def _reader(self) -> AsyncIterator[Process]:
        order: dict[str, Any] = {**self._settings.model_dump(exclude={"kind"}), "parent": os.getpid()}
        command = [sys.executable, "-P", "-m", READER, json.dumps(order)]
        pipe = asyncio.subprocess.PIPE
        try:
            reader = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, env=_environment(), limit=PIPE_BYTES
            )
        except OSError as exc:
            raise SourceLost(f"the reader of {self._settings.device} could not be started: {exc}") from exc
        try:
            yield reader
        finally:
            with contextlib.suppress(ProcessLookupError):
                reader.kill()
            await reader.wait()


def _environment() -> dict[str, str]:
    """Return the reader's: it finds the agent where the gateway found it."""
    paths = [str(Path(__file__).resolve().parents[4]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENCV_LOG_LEVEL": "ERROR"}
