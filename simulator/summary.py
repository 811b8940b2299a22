"""What a run tells: a line of progress, and a summary at its end.

Decides: which numbers are told. Leaves out: counting (`simulator/site/counts.py`).
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from simulator.device.site import Settings
from simulator.errors import BrokerUnreachable
from simulator.site.counts import Counts

SAY_EVERY_S = 10.0
"""How often the progress is told where no terminal shows it [s]."""


class Progress:
    """Tells how a run goes, on one line of a terminal, else now and then in one of its own."""

    def __init__(
        self, devices: int, out: TextIO | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._devices = devices
        self._out = out or sys.stderr
        self._monotonic = monotonic
        self._started_s = self._last_s = self._said_s = monotonic()
        self._before = Counts()
        self.most_connected = 0

    @property
    def seconds(self) -> float:
        """Since the start [s]."""
        return self._monotonic() - self._started_s

    def tell(self, counts: Counts) -> bool:
        """Take in the counts as of now. Always True: somebody listens."""
        now_s = self._monotonic()
        self.most_connected = max(self.most_connected, counts.connected)
        live = self._out.isatty()
        if live or now_s - self._said_s >= SAY_EVERY_S:
            line = self._line(counts, max(now_s - self._last_s, 1e-3))
            self._out.write(f"\r\x1b[K{line}" if live else f"{line}\n")
            self._out.flush()
            self._said_s = now_s
            self._before, self._last_s = counts, now_s
        return True

    def require_broker(self) -> None:
        """Refuse a run in which nobody was ever connected.

        Raises:
            BrokerUnreachable: So it was.
        """
        if self._devices and not self.most_connected:
            raise BrokerUnreachable(
                "no device was ever connected: check --broker, its login, and that a broker runs there "
                "(`controller broker run`)"
            )

    def _line(self, counts: Counts, seconds: float) -> str:
        out, into = (
            (after - before) / seconds
            for after, before in ((counts.sent, self._before.sent), (counts.received, self._before.received))
        )
        states = ", ".join(f"{name} {count}" for name, count in sorted(counts.states.items()) if count)
        return (
            f"{self.seconds:.0f} s: connected {counts.connected} of {self._devices}, "
            f"{out:.0f} messages/s out, {into:.0f} in; {states or 'nothing asked'}"
        )


def summary(settings: Settings, processes: int, progress: Progress, counts: Counts) -> dict[str, Any]:
    """Return what a run did, as JSON values."""
    seconds = max(progress.seconds, 1e-3)
    progress.most_connected = max(progress.most_connected, counts.connected)
    return {
        "fleet": settings.fleet,
        "seed": settings.seed,
        "processes": processes,
        "seconds": round(seconds, 1),
        **counts.document(),
        "most_connected": progress.most_connected,
        "sent_hz": round(counts.sent / seconds, 1),
        "received_hz": round(counts.received / seconds, 1),
        "memory_bytes_per_device": round(counts.memory_bytes / max(1, counts.devices)),
    }


def summary_lines(document: Mapping[str, Any]) -> list[str]:
    """Return a summary for people."""
    states = ", ".join(f"{name} {count}" for name, count in document["states"].items())
    return [
        f"{document['devices']} devices of {document['fleet']} in {document['processes']} processes, "
        f"{document['seconds']} s; connected {document['connected']}, at most {document['most_connected']}",
        f"sent {document['sent']} messages ({document['sent_hz']}/s), received {document['received']} "
        f"({document['received_hz']}/s, {document['received_bytes'] / 1e6:.1f} MB)",
        f"downloads {document['downloads']}, trials {document['trials']}, documents refused {document['refused']}",
        f"states: {states or 'nothing was asked'}",
        f"memory: {document['memory_bytes_per_device'] / 1e3:.0f} kB a device",
    ]
