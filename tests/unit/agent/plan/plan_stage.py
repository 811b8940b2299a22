"""A measuring plan's shell on a stage: downloads, measuring, clock and broker are stand-ins that the test moves."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.artifacts.assemble import Assembled
from agent.config import AgentConfig
from agent.loop import Loop
from agent.plan.agenda import unmeasured
from agent.plan.measuring import Heard
from agent.plan.runner import PlanRunner, Surroundings
from agent.update.vocabulary import Tell
from tests.unit.agent.plan.test_agenda import FACTS, plan
from tests.unit.agent.plan.test_outbox import put_together
from wire.artifact import ArtifactRef
from wire.trial import Plan, TrialPart, TrialRecord, TrialRequest
from wire.update import Have, ReportedError


class StandInDownloads:
    """Has everything at once, but for what the test says fails."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.faults: dict[str, list[ReportedError]] = {}
        self.fetched: list[str] = []

    def fetch(
        self, _who: str, ref: ArtifactRef, done: Callable[[ReportedError | None], None], _: Callable[[Have], None]
    ) -> None:
        self.fetched.append(ref.digest[0])
        faults = self.faults.get(ref.digest[0], [])
        fault = faults.pop(0) if faults else None
        self.loop.post(lambda: done(fault))

    def assemble(self, ref: ArtifactRef, done: Callable[[Any], None]) -> None:
        self.loop.post(lambda: done(Assembled(Path("/artifacts") / ref.digest[0], None)))  # type: ignore[arg-type]

    def leave(self, _who: str) -> None:
        pass


class StandInMeasuring:
    """Looks like a `Measuring`; the test decides when its turn comes and what it finds."""

    started: "list[StandInMeasuring]" = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, requests: Any, folders: Any, _context: Any, _lock: Any, heard: Heard) -> None:
        self.requests: tuple[TrialRequest, ...] = tuple(requests)
        self.folders = folders
        self.heard = heard
        self.running = False
        self.canceled = False

    def start(self) -> None:
        self.started.append(self)

    def go(self, longest_s: float | None = None) -> None:
        self.running = True
        self.longest_s = longest_s

    def cancel(self) -> None:
        self.canceled = True

    def join(self, _timeout_s: float) -> None:
        pass

    def finish(self, *trials: str, fault: str = "") -> None:
        for each in self.requests:
            if each.trial in trials:
                self.heard.record(unmeasured(each, plan(3, each), "measured", ""))
        self.heard.end(fault)


class Stage:
    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.folder = folder
        self.loop = Loop(lambda: self.now_s)
        self.downloads = StandInDownloads(self.loop)
        self.changing = False
        self.told: list[Tell] = []
        self.parts: dict[str, list[TrialPart]] = {}
        self.pauses: list[str] = []
        self.hushed: list[float | None] = []
        self.is_asked = True
        self.facts = FACTS
        self.collected: list[bool] = []
        self.room_by_collecting = 0
        self.begin()

    def begin(self) -> None:
        """Start, as after a restart."""
        config = AgentConfig.model_validate({"fleet": "farm", "device": "barn-1", "state_dir": self.folder})
        around = Surroundings(
            config=config,
            version="1",
            loop=self.loop,
            downloads=self.downloads,  # type: ignore[arg-type]
            facts=lambda: self.facts,
            changing=lambda: self.changing,
            pause=self._pause,
            resume=lambda: self.pauses.append("resume"),
            hush=self.hushed.append,
            tell=self.told.append,
            send=self._send,
            collect_garbage=self._collect,
        )
        self.runner = PlanRunner(around)

    def arrive(self, document: Plan) -> None:
        self.runner.arrived(document)
        self.turn()

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass and everything that was posted happen."""
        self.now_s += seconds
        for _ in range(20):
            self.loop.post(self.loop.stop)
            self.loop.run()

    @property
    def measuring(self) -> StandInMeasuring:
        return StandInMeasuring.started[-1]

    def records(self) -> dict[str, TrialRecord]:
        return {trial: put_together(parts) for trial, parts in self.parts.items()}

    def outcomes(self) -> dict[str, str]:
        return {trial: record.outcome for trial, record in self.records().items()}

    def _collect(self, is_short: bool) -> None:
        self.collected.append(is_short)
        if is_short:
            free_bytes = self.facts.disk_free_bytes + self.room_by_collecting
            self.facts = replace(self.facts, disk_free_bytes=free_bytes)

    def _pause(self) -> bool:
        self.pauses.append("pause")
        return self.is_asked

    def _send(self, part: TrialPart) -> bool:
        self.parts[part.trial] = [*(self.parts.get(part.trial, []) if part.part else []), part]
        return True
