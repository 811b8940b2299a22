"""How a deploy, and what else takes long, tells what it does: the command line shows it as bars or as plain lines."""

from collections.abc import Callable
from typing import Protocol

from controller.compress.build import CONVERTING


class Progress(Protocol):
    """Told of every step, from the deploy's own thread and from the compression's."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins; `total` steps are expected, 0 where that is not known."""

    def advance(self, note: str = "") -> None:
        """A step of the stage is done."""

    def say(self, text: str) -> None:
        """Something worth a line of its own."""


def of_builds(progress: Progress) -> Callable[[str, str], None]:
    """Return what `build_wanted` is to tell: a step for each variant that is made or failed, a line a conversion."""

    def told(variant: str, what: str) -> None:
        if what == "done" or what.startswith("failed"):
            progress.advance(variant if what == "done" else f"{variant} {what}")
        elif what.startswith(CONVERTING):
            progress.say(f"{variant}: {what}")

    return told


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int) -> None:
        """Ignore it."""

    def advance(self, note: str = "") -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""
