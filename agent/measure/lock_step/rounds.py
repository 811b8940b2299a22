"""A pair's rounds in lock-step: how many, in which order, and when the pair is measured process by process after all.

Decides: that more rounds are taken as long as the interval of the ratio is wider than the grade asks for, at its look
points; that what one side lacks memory for, with the other beside it, is tried again alone. Leaves out: a single round
(`player.py`).
"""

import math
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.errors import WorkerNotStarted
from agent.measure.host import pages
from agent.measure.lock_step.player import Terms, play_round
from agent.measure.lock_step.ratios import round_log_ratios
from agent.measure.lock_step.room import reason_against, shared_core
from agent.measure.orders import LockStep, MeasureOrder
from agent.measure.process import Answer, Canceled
from agent.measure.protocol import interval_reached
from agent.measure.record import Measured

if TYPE_CHECKING:
    from agent.measure.session import Session

STARTS = 3
"""As often is a round begun where a process did not even start."""

START_AGAIN_S = 1.0

Answers = tuple[Answer | None, Answer | None]


def speeds_in_lock_step(session: "Session", group: Sequence[Measured]) -> bool:
    """Time a pair in lock-step; return False where the group is to be measured process by process, which it then says.

    Raises:
        Canceled: The session's event was set.
    """
    alive = [one for one in group if one.alive]
    sizes = [sum(file.stat().st_size for file in pages.bundle_files(one.bundle)) for one in alive if one.bundle]
    scenario = alive[0].request.scenario if alive else "single_stream"
    why_not = reason_against(scenario, sizes, session.context.memory_cap_bytes)
    if not why_not:
        for one in group:
            one.interleaving = "lock-step"  # also where it is cancelled meanwhile
        why_not = _Pair(session, alive[0], alive[1]).take()
    if not why_not:
        return True
    session.context.say("not_in_lock_step", detail=why_not)
    for one in group:
        one.interleaving, one.not_in_lock_step = "processes", why_not
    return False


class _Pair:
    """Two variants, round by round."""

    def __init__(self, session: "Session", one: Measured, other: Measured) -> None:
        self._session, self._sides = session, (one, other)
        self._name = uuid.uuid4().hex
        self._rounds = 0

    def take(self) -> str:
        """Take rounds until the ratio is known well enough; return why those that are left are taken otherwise."""
        rule = self._sides[0].rule
        for look in (rule.replicates, *rule.looks):
            if look > rule.replicates and not self._goes_on(look):
                break
            while self._rounds < look:
                if why_not := self._round():
                    return why_not if self._rounds == 0 else ""
        return ""

    def _goes_on(self, look: int) -> bool:
        one, other = self._sides
        ratios = [math.exp(value) for value in round_log_ratios(one.replicates, other.replicates)]
        if interval_reached(ratios, one.rule) or not all(side.has_time() for side in self._sides):
            return False
        seconds = (look - self._rounds) * sum(side.wall_s for side in self._sides) / self._rounds
        if self._session.affords(self._sides, seconds):
            return True
        self._session.context.say("left_out", detail=f"rounds up to {look}: serving must go on")
        return False

    def _round(self) -> str:
        """Take a round; return why there is none, be it that a side failed or that both together lack memory."""
        sides = self._sides if self._rounds % 2 == 0 else self._sides[::-1]
        start = time.monotonic()
        try:
            answers = self._played(tuple(map(self._order, sides, ("first", "second"))))  # type: ignore[arg-type]
        except (OSError, WorkerNotStarted) as exc:
            return f"a worker did not start beside the other, {STARTS} tries; the last: {exc}"[:1000]
        if self._rounds == 0 and _lack_memory(answers):
            return "one of two workers at once ran out of memory"
        for side, answer in zip(sides, answers, strict=True):
            side.wall_s += (time.monotonic() - start) / 2
            if answer is not None:
                side.take(answer.result)
                side.caps |= {answer.memory_cap_by} if answer.memory_cap_by is not None else set()
        if not all(side.alive for side in sides):
            return "the other could not be measured"
        self._rounds += 1
        return ""

    def _order(self, one: Measured, place: str) -> MeasureOrder:
        session, context = self._session, self._session.context
        session.context.say("replicate", trial=one.request.trial, variant=one.request.variant, place=session.place)
        folder = session.folder / place
        folder.mkdir(exist_ok=True)
        order = session.timed_order(one, lock_step=LockStep(session=self._name, round=self._rounds))
        cores = context.affinity or (context.workers.cores if context.workers is not None else None)
        affinity = shared_core(order.threads, cores) or order.affinity
        return order.model_copy(update={"result_path": folder / "result.json", "affinity": affinity})

    def _played(self, orders: tuple[MeasureOrder, MeasureOrder]) -> Answers:
        session = self._session
        terms = Terms(self._sides[0].rule.process_cap_s, session.cancel, session.context.workers)
        for _ in range(STARTS - 1):
            try:
                return play_round(orders, terms)
            except (OSError, WorkerNotStarted) as exc:
                session.context.say("not_started", detail=str(exc)[:1000])
            if session.cancel.wait(START_AGAIN_S):
                raise Canceled
        return play_round(orders, terms)


def _lack_memory(answers: Answers) -> bool:
    errors = [answer.result.error for answer in answers if answer is not None]
    return any(error is not None and error.code == "out_of_memory" for error in errors)
