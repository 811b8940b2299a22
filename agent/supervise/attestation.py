"""When a workload reports because another worker is ready, or none: at once where one ends, later where one came back.

Decides: how often. A worker that came back after a crash is told once it has lived as long as it had to wait, so that a
crash loop is told as what it is, once, and not again at every start: two reports need two back-off steps. Leaves out:
what a report says (`update/workload.py`).
"""

from collections.abc import Callable

from agent.loop import Loop, Timer
from agent.supervise.serving import Serving


class Attestation:
    """Compares what was told with what is ready now. All methods belong to the consumer thread."""

    def __init__(self, loop: Loop, serving: Serving, report: Callable[[], None]) -> None:
        """Listen to `serving`; `report` is called where something else is ready than was told last."""
        self._loop = loop
        self._serving = serving
        self._report = report
        self._told: str | None = None
        self._timer: Timer | None = None
        serving.hear_changes(lambda: loop.post(self._look))

    def take(self) -> str | None:
        """Return the digest of the bundle whose worker is ready, for a report that is being made."""
        self._told = self._serving.bundle
        return self._told

    def _look(self) -> None:
        """Looked at in a call of its own, after the machine has had its say: mostly it reports anyway."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._serving.bundle == self._told:
            return
        if self._serving.bundle is not None and self._serving.waited_s > 0:
            self._timer = self._loop.after(self._serving.waited_s, self._tell)
        else:
            self._report()

    def _tell(self) -> None:
        if self._serving.bundle != self._told:
            self._report()
