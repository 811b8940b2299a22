"""Queries kept as samples for the controller, where the configuration asks for it: off by default.

Decides: which queries are kept, and the bounds: bytes on the disk and samples a day. Leaves out: sending them and
deleting them after the controller's acknowledgement (`agent/samples`, in the control process).
A file appears by a rename and is a whole sample, packed as it crosses the wire. Files are written on another thread,
one at a time: a query that comes meanwhile is not kept, so that capturing never holds serving back.
"""

import asyncio
import base64
import logging
import random
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal

from agent.gateway.base import Outcome, Query, Surroundings
from agent.gateway.sinks.text import finite
from agent.serve.settings import CaptureSettings
from wire.sample import LARGEST_PAYLOAD_BYTES, Sample, pack

log = logging.getLogger(__name__)

CAPTURE_FOLDER = "capture"
SUFFIX = ".sample"
TODAY_FILE = "today"
DAY_S = 86_400

Because = Literal["confidence", "random"]


class Capture:
    """Decides on each answered query of a source. Belongs to the event loop's thread."""

    def __init__(
        self,
        settings: CaptureSettings,
        surroundings: Surroundings,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Look at what is kept already.

        Args:
            settings: What is kept, and how much.
            surroundings: Whose folder, clock, device and workload.
            chance: A number from 0 to 1, drawn once per query.
        Raises:
            OSError: The folder cannot be made or read.
        """
        self._settings = settings
        self._around = surroundings
        self._chance = chance
        self._folder = surroundings.state_dir / CAPTURE_FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob("*.tmp"):
            left.unlink()
        self._day, self._kept_today = self._read_today()
        self._writing: asyncio.Task[None] | None = None

    def heard(self, query: Query, outcome: Outcome) -> None:
        """Keep an answered query or not. Lists of queries are not kept: a sample is one query."""
        if outcome.reason is not None or query.batch or len(outcome.answers) != 1:
            return
        because = self._because(outcome.answers[0])
        if because is None or len(query.payload) > LARGEST_PAYLOAD_BYTES or not self._may_keep():
            return
        self._kept_today += 1
        sample = self._sample(query, outcome, because)
        self._writing = asyncio.get_running_loop().create_task(self._write(sample, query.payload))

    async def close(self) -> None:
        """Wait for the sample that is being written."""
        if self._writing is not None:
            await asyncio.wait({self._writing})

    # --- deciding -------------------------------------------------------------------------------------------------

    def _because(self, answer: Mapping[str, Any]) -> Because | None:
        limit = self._settings.below_confidence
        values = () if "mask" in answer else answer.get("values") or ()  # a share of pixels is no confidence
        if limit is not None and answer.get("classes") and values and _is_doubtful(values[0], limit):
            return "confidence"
        # Drawn for each query, sure or not, so that the share is one of all queries that were not kept for doubt.
        return "random" if self._chance() < self._settings.ratio else None

    def _may_keep(self) -> bool:
        day = int(self._around.clock.now_s() // DAY_S)
        if day != self._day:
            self._day, self._kept_today = day, 0
        is_busy = self._writing is not None and not self._writing.done()
        return not is_busy and self._kept_today < self._settings.most_each_day

    def _sample(self, query: Query, outcome: Outcome, because: Because) -> Sample:
        at_s = self._around.clock.now_s()
        return Sample(
            device=self._around.device,
            workload=self._around.workload,
            sample=f"s-{int(at_s * 1000):012x}-{secrets.token_hex(4)}",
            bundle=outcome.bundle,
            at_s=at_s,
            because=because,
            encoding=query.encoding,
            dtype=query.dtype,
            shape=query.shape,
            answer=finite({key: each for key, each in outcome.answers[0].items() if key != "mask"}),
            origin=finite(query.origin),
            payload="",
        )

    # --- keeping --------------------------------------------------------------------------------------------------

    async def _write(self, sample: Sample, payload: bytes) -> None:
        try:
            await asyncio.to_thread(self._keep, sample, payload)
        except OSError as exc:
            log.warning("a sample cannot be kept in %s: %s", self._folder, exc)

    def _keep(self, sample: Sample, payload: bytes) -> None:
        kept_bytes = sum(path.stat().st_size for path in self._folder.glob(f"*{SUFFIX}"))
        room_bytes = self._settings.most_bytes - kept_bytes
        packed = None
        if len(payload) <= room_bytes:  # packing 16 MiB takes seconds on a small board: not to find the folder full
            packed = pack(sample.model_copy(update={"payload": base64.b64encode(payload).decode()}))
        if packed is None or len(packed) > room_bytes:
            log.info("%s is full: a sample is not kept", self._folder)
            return
        waiting = self._folder / f"{sample.sample}.tmp"
        waiting.write_bytes(packed)
        self._folder.joinpath(TODAY_FILE).write_text(f"{self._day} {self._kept_today}\n", encoding="ascii")
        waiting.rename(self._folder / f"{sample.sample}{SUFFIX}")

    def _read_today(self) -> tuple[int, int]:
        """Return the day of the last sample and how many it had, so that a restart does not begin a new day."""
        try:
            day, kept = self._folder.joinpath(TODAY_FILE).read_text(encoding="ascii").split()
            return int(day), int(kept)
        except (OSError, ValueError):
            return -1, 0


def _is_doubtful(value: object, limit: float) -> bool:
    """Return whether a confidence is below `limit`, or none at all: NaN, which is null in what workers say."""
    return not isinstance(value, int | float) or not value >= limit
