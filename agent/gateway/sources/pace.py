"""Ticks at a rate, without drift: the n-th is due n periods after the first, however long the others took.

Decides: a tick that is late by more than a period is skipped and counted (`tick_skipped`), so that nothing comes in
bursts after a standstill. Leaves out: what is done at a tick.
"""

from collections.abc import AsyncIterator

from agent.gateway.base import Clock, Intake

SHORTEST_SLACK_S = 0.005
"""The event loop wakes within a millisecond or so: faster rates may catch up this much."""


async def ticks(period_s: float, clock: Clock, intake: Intake) -> AsyncIterator[int]:
    """Yield the number of each tick when it is due, from 0 on, for ever."""
    slack_s = max(period_s, SHORTEST_SLACK_S)
    begin_s = clock.monotonic_s()
    number = 0
    while True:
        wait_s = begin_s + number * period_s - clock.monotonic_s()
        # At a rate that the device cannot keep up with, everybody else must have a turn all the same.
        await clock.sleep(max(0.0, wait_s))
        late_s = clock.monotonic_s() - begin_s - number * period_s
        if late_s > slack_s:
            missed = int(late_s / period_s)
            for _ in range(missed):
                intake.refuse("tick_skipped", f"{late_s:.3f} s late")
            number += missed
        yield number
        number += 1
