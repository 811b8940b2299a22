"""Single queries of a lane, recorded while an operator has asked for them: for a bounded time, in bounded number.

Decides: what is told of a query (times, answer, reason; never its input), and when it ends. Leaves out: who may ask
(the control process) and sending. Costs one comparison a query while nobody asks. Nothing of it goes to a disk.

    recorder.begin(seconds=30, most=1000); recorder.note(outcome, wait_ms=0.4); told = recorder.take()
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from agent.gateway.base import Outcome

LONGEST_S = 300.0
MOST_RECORDS = 5000
"""Both stand in the request's message too: the gateway does not take anybody's word for them."""
MOST_EACH = 1000
"""Records told at once: a line on a pipe has its bounds."""


class RawRecorder:
    """Records of one lane; one request at a time, a new one takes the former's place."""

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._until: float | None = None
        self._left: int = 0
        self._records: list[dict[str, Any]] = []

    def begin(self, seconds: float, most: int) -> None:
        """Record from now on, for `seconds` and `most` records at most."""
        self._until = self._monotonic() + min(max(0.0, seconds), LONGEST_S)
        self._left = min(max(0, most), MOST_RECORDS)
        self._records = []

    def note(self, outcome: Outcome, wait_ms: float) -> None:
        """Record what became of a query."""
        if self._is_on():
            self._add(_record(outcome, wait_ms))

    def refused(self, reason: str) -> None:
        """Record an input that did not become a query."""
        if self._is_on():
            self._add({"reason": reason})

    def take(self) -> dict[str, Any] | None:
        """Return `records` since the last call and why it `ended` (`over`, `full`); None with nothing to tell."""
        if self._until is None:
            return None
        records, self._records = self._records[:MOST_EACH], self._records[MOST_EACH:]
        ended = self._end_reason() if not self._records else None
        return {"records": records, "ended": ended} if records or ended else None

    def _end_reason(self) -> str | None:
        if self._until is None or (self._left > 0 and self._monotonic() < self._until):
            return None
        self._until = None
        return "full" if self._left == 0 else "over"

    def _is_on(self) -> bool:
        return self._until is not None and self._left > 0 and self._monotonic() < self._until

    def _add(self, record: dict[str, Any]) -> None:
        self._left -= 1
        self._records.append({"at_ms": round(self._clock() * 1e3), **record})


def _record(outcome: Outcome, wait_ms: float) -> dict[str, Any]:
    record: dict[str, Any] = {"total_ms": round(outcome.total_ns / 1e6, 3), "wait_ms": round(wait_ms, 3)}
    if outcome.bundle is not None:
        record["bundle"] = outcome.bundle[:12]
    if outcome.reason is not None:
        return {**record, "reason": outcome.reason}
    phases = zip(("pre_ms", "infer_ms", "post_ms"), outcome.times_ns, strict=True)
    record.update({name: round(spent_ns / 1e6, 3) for name, spent_ns in phases})
    record.update(_answer(outcome.answers[0]) if outcome.answers else {})
    return {**record, "answers": len(outcome.answers)} if len(outcome.answers) > 1 else record


def _answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the best class and how sure it is, or a regression's first value."""
    classes, labels, values = (answer.get(name) or () for name in ("classes", "labels", "values"))
    first = values[0] if values else None
    told = {"value": first}
    if classes:
        told = {"label": str(labels[0] if labels else classes[0])[:64], "confidence": first}
    return {name: each for name, each in told.items() if each is not None}
