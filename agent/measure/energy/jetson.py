"""Power as jetson-stats tells it, where its service runs and the package is installed: in a container, for instance.

Leaves out: what the kernel itself shows of a Jetson's monitors (`sensors.py`), which comes first.
"""

from functools import cache
from pathlib import Path
from typing import Any

from agent.measure.conditions.supply import JTOP_SOCKET


class JtopWatts:
    """The board's total power [W]; called for a reading. The connection is opened once, and closed with the process."""

    def __init__(self, root: Path) -> None:
        self._jetson = _connected() if (root / JTOP_SOCKET).exists() else None

    def __call__(self) -> float | None:
        if self._jetson is None:
            return None
        try:
            return float(self._jetson.power["tot"]["power"]) / 1e3 if self._jetson.ok() else None
        except Exception:  # the library's own errors have no common base; no reading may raise
            self._jetson = None
            return None


@cache
def jtop_watts(root: Path) -> JtopWatts:
    """Return the one connection of this process."""
    return JtopWatts(root)


def _connected() -> Any | None:
    try:
        from jtop import jtop  # on a Jetson alone, and only if somebody has installed it

        jetson = jtop(interval=0.5)
        jetson.start()
    except Exception:  # as above
        return None
    return jetson
