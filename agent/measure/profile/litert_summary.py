"""LiteRT's profile summary, read: which operator types took how long.

The summary is text. Two of its tables count: "Summary by node type" (all operators, means to a whole microsecond) and
"Delegate Statistics" (operators inside a delegate such as XNNPACK, exact sums). Where both have a type, the exact sum
is taken. Pure.
"""

import re

from agent.errors import EngineFailed
from agent.measure.profile.operators import Spent

DELEGATE_PREFIX = "Delegate/"

_BY_TYPE = re.compile(
    r"^\s*(?P<name>\S.*?)\s+(?P<count>\d+)\s+(?P<mean_ms>\d+\.\d+)\s+[\d.]+%\s+[\d.]+%\s+[\d.]+\s+(?P<calls>\d+)\s*$"
)
_INSIDE = re.compile(r"^(?P<name>\S.*?)\s+(?P<calls>\d+)\s+[\d.]+\s+\d+\s+\d+\s+(?P<total_us>\d+)\s*$")


def spent_in_summary(text: str) -> list[Spent]:
    """Return what each operator type took, all runs together.

    Raises:
        EngineFailed: The text has no such table.
    """
    by_type = [_BY_TYPE.match(line) for line in _table(text, "Summary by node type")]
    inside = [_INSIDE.match(line) for line in _table(text, "Delegate Statistics")]
    exact = {row["name"]: Spent(_name(row["name"]), int(row["calls"]), float(row["total_us"])) for row in inside if row}
    rows = [row for row in by_type if row and not (exact and _is_a_delegate(row["name"]))]
    if not rows:
        raise EngineFailed("LiteRT's profile summary has no operators, or another layout than is known")
    return [
        exact.get(row["name"])
        or Spent(_name(row["name"]), int(row["calls"]), 1000 * float(row["mean_ms"]) * int(row["calls"]))
        for row in rows
    ]


def _table(text: str, title: str) -> list[str]:
    """Return the lines of the table under `title`, its heading included; empty where there is none."""
    lines = text.splitlines()
    starts = [place for place, line in enumerate(lines) if title in line]
    if not starts:
        return []
    rest = lines[starts[-1] + 1 :]
    end = next((place for place, line in enumerate(rest) if not line.strip()), len(rest))
    return rest[:end]


def _is_a_delegate(name: str) -> bool:
    """A delegate's own row holds the time of the operators inside it, which have rows as well."""
    return "delegate" in name.lower() and not name.startswith(DELEGATE_PREFIX)


def _name(name: str) -> str:
    return name.removeprefix(DELEGATE_PREFIX)
