"""The devices of one process: made, connected at a steady pace, counted, and said goodbye to.

Decides: how fast they connect, and that a process has a file for each of them. Leaves out: what one does
(`simulator/device`), and several processes (`processes.py`).
"""

import gc
import logging
import resource
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

import psutil

from simulator.classes import SimulatedClass, class_of
from simulator.device.device import VirtualDevice
from simulator.device.site import Settings, Site, TrustHere
from simulator.errors import TooFewFiles
from simulator.site.counts import Counts

FILES_BESIDE = 64
"""What a process holds open beside the devices' connections."""
ENDS = (signal.SIGTERM, signal.SIGINT)
TELL_EVERY_S = 1.0
GOODBYE_S = 1.0
"""For the first thousand devices; more take longer."""

Tell = Callable[[Counts], bool]
"""Is told the counts every second; False: nobody listens any more."""


class LocalFleet:
    """The devices whose numbers are in `numbers`, on one loop."""

    def __init__(self, settings: Settings, classes: Sequence[SimulatedClass], numbers: range, tell: Tell) -> None:
        """Make nothing yet.

        Raises:
            TooFewFiles: This system allows a process fewer open files than there are devices.
            agent.errors.TrustError: A trusted key is none.
        """
        allow_files(len(numbers) + FILES_BESIDE)
        self._site = Site(settings, TrustHere(settings.trusted_keys))
        self._classes, self._numbers, self._tell = classes, numbers, tell
        self._devices: list[VirtualDevice] = []
        self._process = psutil.Process()
        self._before_bytes = 0

    def run(self, seconds: float | None) -> Counts:
        """Connect all devices and let them be for `seconds` (null: until SIGTERM or SIGINT); return the counts.

        Raises:
            agent.errors.BrokerUnreachable: The certificate authority cannot be used.
        """
        former = {each: signal.signal(each, lambda *_: self._site.loop.stop()) for each in ENDS}
        gc.collect()
        gc.freeze()  # what is there already is not looked at again: collecting ten thousand devices takes a while
        try:
            return self._run(seconds)
        finally:
            gc.unfreeze()
            self._site.loop.close()
            for number, action in former.items():
                signal.signal(number, action)

    def _run(self, seconds: float | None) -> Counts:
        loop = self._site.loop
        self._before_bytes = self._process.memory_info().rss
        self._connect()  # what keeps the first device from being made would keep all others
        loop.after(TELL_EVERY_S, self._tell_counts)
        if seconds is not None:
            loop.after(seconds, loop.stop)
        loop.run()
        counts = self.counts()
        for number in ENDS:
            signal.signal(number, signal.SIG_IGN)  # a second one does not cut the goodbyes short
        for device in self._devices:
            device.stop()
        loop.run_for(GOODBYE_S * max(1.0, len(self._devices) / 1000))
        return counts

    def counts(self) -> Counts:
        """Return what was done so far."""
        memory = max(0, self._process.memory_info().rss - self._before_bytes)
        return replace(self._site.counts, devices=len(self._devices), memory_bytes=memory)

    def _connect(self) -> None:
        """Make and start the next device; the others follow at the pace that the settings ask for."""
        place = len(self._devices)
        if place >= len(self._numbers):
            return
        number = self._numbers[place]
        device = VirtualDevice(self._site, number, class_of(self._classes, number))
        self._devices.append(device)
        device.start()
        self._site.loop.after(1.0 / self._site.settings.connects_hz, self._connect)

    def _tell_counts(self) -> None:
        if self._tell(self.counts()):
            self._site.loop.after(TELL_EVERY_S, self._tell_counts)
        else:
            self._site.loop.stop()


def quiet_logs() -> None:
    """Log what is wrong with the run, and not what each of ten thousand connections goes through."""
    logging.basicConfig(level=logging.ERROR, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("agent.mqtt").setLevel(logging.CRITICAL)


def allow_files(files: int) -> None:
    """Let this process open so many files.

    Raises:
        TooFewFiles: The system's limit lies below.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= files or soft == resource.RLIM_INFINITY:
        return
    if hard not in (resource.RLIM_INFINITY,) and hard < files:
        raise TooFewFiles(
            f"{files} open files are needed in one process, this system allows {hard}: "
            "take more --processes, or raise the limit (`ulimit -n`)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
