"""A sensor's payload -> a reading, or a refusal with its reason. Pure.

Decides: what is a reading: one number, a list of numbers, or an object whose `fields` are numbers or lists of numbers;
its time where the payload tells one. Refused: what is no JSON, no finite number, not there, too large, too deep, or
from the future. Leaves out: order and gaps, which need the readings before (`windows.py`).

>>> read_reading(b'{"t": "2026-03-01T06:00:00Z", "soil": {"moisture": 0.31}}', Rules(("soil.moisture",), "t"), 1.8e9)
Reading(values=(0.31,), at_s=1772344800.0)
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.errors import AgentError

_MISSING = object()
_MILLISECONDS_FROM = 1e11
"""Seconds since 1970 reach this in the year 5138: such a time is one in milliseconds."""


class BadReading(AgentError):
    """A payload or file that gives no query. `reason` says why."""

    reason = "reading_malformed"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Rules:
    """How payloads of one source are read."""

    fields: tuple[str, ...] = ()
    """Dotted paths into an object; none: the payload is a number or a list."""
    time_field: str | None = None
    """Dotted path of the reading's time; null: the time of arrival."""
    largest_bytes: int = 64 * 1024
    most_ahead_s: float = 5.0


@dataclass(frozen=True)
class Reading:
    """What a sensor measured at one time: a value a channel."""

    values: tuple[float, ...]
    at_s: float
    """Seconds since 1970."""


def read_reading(payload: bytes, rules: Rules, arrived_at_s: float) -> Reading:
    """Return the reading in `payload`.

    Args:
        payload: As it was published.
        rules: The source's.
        arrived_at_s: Seconds since 1970, by the device's clock.
    Raises:
        BadReading: It holds none.
    """
    if len(payload) > rules.largest_bytes:
        raise BadReading("reading_too_large", f"{len(payload)} bytes, at most {rules.largest_bytes} are read")
    content = _parsed(payload)
    named = rules.fields or rules.time_field is not None
    if named and not isinstance(content, dict):
        raise BadReading("reading_wrong_type", f"an object is expected, given {_kind(content)}")
    found = [_member(content, path) for path in rules.fields] if rules.fields else [content]
    values = tuple(number for each in found for number in _numbers(each))
    if not values:
        raise BadReading("reading_wrong_length", "a list without numbers")
    return Reading(values, _time(content, rules, arrived_at_s))


def _parsed(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as exc:
        raise BadReading("reading_malformed", f"not UTF-8: {exc}") from exc
    except ValueError as exc:  # no JSON, or a whole number of more digits than Python converts
        raise BadReading("reading_malformed", f"not JSON: {str(exc)[:200]}") from exc
    except RecursionError as exc:
        raise BadReading("reading_malformed", "nested too deeply") from exc


def _refuse_constant(name: str) -> Any:
    raise BadReading("reading_not_finite", f"{name} is no JSON, and no reading")


def _member(content: Any, path: str) -> Any:
    found = content
    for name in path.split("."):
        found = found.get(name, _MISSING) if isinstance(found, dict) else _MISSING
    if found is _MISSING:
        raise BadReading("reading_field_missing", f"no member {path!r}")
    return found


def _numbers(content: Any) -> Iterator[float]:
    for each in content if isinstance(content, list) else [content]:
        yield _number(each)


def _number(content: Any) -> float:
    if isinstance(content, bool) or not isinstance(content, int | float):
        raise BadReading("reading_wrong_type", f"numbers are expected, given {_kind(content)}")
    try:
        value = float(content)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise BadReading("reading_not_finite", "a number that is too large")
    return value


def _kind(content: Any) -> str:
    names = {dict: "an object (name its members in `fields`)", list: "a list", str: "text", bool: "true or false"}
    return "null" if content is None else names.get(type(content), "a number")


def _time(content: Any, rules: Rules, arrived_at_s: float) -> float:
    if rules.time_field is None:
        return arrived_at_s
    told = _member(content, rules.time_field)
    at_s = _from_text(told) if isinstance(told, str) else _number(told)
    if at_s > arrived_at_s + rules.most_ahead_s:
        hint = "; seconds since 1970 are expected, not milliseconds" if at_s > _MILLISECONDS_FROM else ""
        ahead = f"{at_s - arrived_at_s:.0f} s ahead of this device's clock, at most {rules.most_ahead_s:g} s are taken"
        raise BadReading("reading_from_future", f"{ahead}{hint}")
    return at_s


def _from_text(told: str) -> float:
    try:
        time = datetime.fromisoformat(told)
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as exc:
        raise BadReading("reading_wrong_type", f"{told[:40]!r} is no time: seconds since 1970, or ISO 8601") from exc
