"""How a deploy tells what it does. Stages report here; the command line shows it as bars or as plain lines."""

from typing import Protocol


class Progress(Protocol):
    """Told of every step, from the deploy's own thread and from the compression's."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins; `total` steps are expected, 0 where that is not known."""

    def advance(self, note: str = "") -> None:
        """A step of the stage is done."""

    def say(self, text: str) -> None:
        """Something worth a line of its own."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int) -> None:
        """Ignore it."""

    def advance(self, note: str = "") -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""
