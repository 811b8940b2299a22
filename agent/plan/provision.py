"""Bring what a group of trials needs to the disk, one artifact after the other.

Decides: which failures are worth another try, and when it is given up. Leaves out: how artifacts are fetched.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from agent.artifacts.assemble import Assembled
from agent.artifacts.downloads import Downloads
from agent.loop import Loop, Timer
from wire.artifact import ArtifactRef
from wire.update import ReportedError

MOST_TRIES = 8
LONGEST_WAIT_S = 60.0
WHO = "plan"

Provisioned = Callable[[dict[str, Path], dict[str, ReportedError]], None]


class Provision:
    """The artifacts of one group under way. `done(folders, failed)` is called once, both by digest."""

    def __init__(self, downloads: Downloads, loop: Loop, refs: Sequence[ArtifactRef], done: Provisioned) -> None:
        self._downloads = downloads
        self._loop = loop
        self._left = list({ref.digest: ref for ref in refs}.values())
        self._done: Provisioned | None = done
        self._folders: dict[str, Path] = {}
        self._failed: dict[str, ReportedError] = {}
        self._tries = 0
        self._timer: Timer | None = None

    def start(self) -> None:
        """Fetch the next artifact, or end."""
        if self._done is None:
            return
        if not self._left:
            done, self._done = self._done, None
            done(self._folders, self._failed)
            return
        self._downloads.fetch(WHO, self._left[0], self._fetched, lambda _: None)

    def stop(self) -> None:
        """Forget it; nobody is told, and chunks that have arrived stay."""
        self._done = None
        self._downloads.leave(WHO)
        if self._timer is not None:
            self._timer.cancel()

    def _fetched(self, error: ReportedError | None) -> None:
        if self._done is None:
            return
        if error is not None:
            self._failed_once(error)
        else:
            self._downloads.assemble(self._left[0], self._assembled)

    def _assembled(self, answer: Assembled | ReportedError) -> None:
        if self._done is None:
            return
        if isinstance(answer, ReportedError):
            self._failed_once(answer)
            return
        self._folders[self._left.pop(0).digest] = answer.folder
        self._tries = 0
        self.start()

    def _failed_once(self, error: ReportedError) -> None:
        self._tries += 1
        if error.error_class == "retryable" and self._tries < MOST_TRIES:
            self._timer = self._loop.after(min(LONGEST_WAIT_S, 0.5 * 2**self._tries), self.start)
            return
        self._failed[self._left.pop(0).digest] = error
        self._tries = 0
        self.start()
