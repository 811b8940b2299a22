"""How a search goes, at the terminal: variants tried, the best so far, the time left.

Decides: a display that stands still where there is a terminal, a line a candidate where not. Leaves out: the search.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from controller.cli.output import clean
from controller.compress.search.loop import Moment, said_of

if TYPE_CHECKING:
    from rich.console import RenderableType

LONGEST_LINE = 150


class PlainWatch:
    """A line for each candidate, with the seconds since the start."""

    def __init__(self, *, aside: bool) -> None:
        self._aside, self._start = aside, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def saw(self, moment: Moment) -> None:
        if moment.last:
            self.told(f"{moment.last}; best so far: {best_text(moment)}; {counts_text(moment)}")

    def told(self, text: str) -> None:
        """Say what is being done."""
        click.echo(f"[{time.monotonic() - self._start:6.1f} s] {clean(text)}", err=self._aside)


class BoardWatch:
    """Three lines that change: what was tried and what is left, the best so far, the last one."""

    def __init__(self, *, aside: bool, now: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.live import Live

        self._moment = Moment(0, 0, None, 0.0)
        self._now = now
        self._until, self._doing = now(), "reading the samples"
        self._live: Any = Live(get_renderable=self._board, console=Console(stderr=aside), refresh_per_second=2)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def saw(self, moment: Moment) -> None:
        self._until, self._doing = self._now() + moment.left_s, "searching"
        self._moment = moment

    def told(self, text: str) -> None:
        """Say what is being done."""
        self._doing = text

    def _board(self) -> "RenderableType":
        from rich.table import Table

        left_s = max(0.0, self._until - self._now())
        moment = Moment(self._moment.tried, self._moment.kept, self._moment.best, left_s, self._moment.last)
        table = Table.grid(padding=(0, 2))
        for name, text in (
            (self._doing, counts_text(moment)),
            ("best so far", best_text(moment)),
            ("last", moment.last or "-"),
        ):
            table.add_row(f"[bold]{clean(name)}[/bold]", _escaped(text))
        return table


def counts_text(moment: Moment) -> str:
    """Return how many were tried, how many keep the limit, and the time left."""
    minutes, seconds = divmod(round(moment.left_s), 60)
    return f"{moment.tried} tried, {moment.kept} within the limit, {minutes}:{seconds:02d} left"


def best_text(moment: Moment) -> str:
    """Return what would be taken now."""
    return "none keeps the limit yet" if moment.best is None else f"{moment.best.variant}, {said_of(moment.best)}"


def make_watch(*, aside: bool) -> PlainWatch | BoardWatch:
    """Return the display that suits where the output goes. aside: it goes to stderr, since stdout takes JSON."""
    import sys

    is_terminal = (sys.stderr if aside else sys.stdout).isatty()
    return BoardWatch(aside=aside) if is_terminal else PlainWatch(aside=aside)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(clean(text)[:LONGEST_LINE])
