"""Progress of a deploy at the terminal: bars where there is one, plain lines where not."""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from controller.cli.output import clean

if TYPE_CHECKING:
    from rich.progress import TaskID

STAGES = {
    "compressing": "compress",
    "screening": "evaluate here",
    "packing": "pack",
    "measuring": "measure on devices",
    "choosing": "choose",
    "rolling_out": "roll out",
}


class PlainProgress:
    """One line for each thing that happens, with the seconds since the start."""

    def __init__(self, *, aside: bool = False) -> None:
        self._aside = aside
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._done = self._total = 0
        self._label = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def stage(self, name: str, total: int) -> None:
        with self._lock:
            self._done, self._total, self._label = 0, total, STAGES.get(name, name)
            self._line(f"{self._label}{f' ({total})' if total else ''}")

    def advance(self, note: str = "") -> None:
        with self._lock:
            self._done += 1
            of = f"{self._done}/{self._total} " if self._total else ""
            self._line(f"  {of}{note}")

    def say(self, text: str) -> None:
        with self._lock:
            self._line(f"  {text}")

    def _line(self, text: str) -> None:
        click.echo(f"[{time.monotonic() - self._start:6.1f} s] {clean(text)}", err=self._aside)


class BarProgress:
    """A bar a stage."""

    def __init__(self, *, aside: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}[/dim]", markup=True),
            console=Console(stderr=aside),
        )
        self._lock = threading.Lock()
        self._current: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        with self._lock:
            self._finish()
            self._current = self._bars.add_task(STAGES.get(name, name), total=total or None, note="")

    def advance(self, note: str = "") -> None:
        with self._lock:
            if self._current is not None:
                self._bars.update(self._current, advance=1, note=_plain(note))

    def say(self, text: str) -> None:
        self._bars.console.print(_plain(text), markup=False, highlight=False)

    def _finish(self) -> None:
        if self._current is not None:
            done = self._bars.tasks[self._current]
            self._bars.update(self._current, total=done.total or max(done.completed, 1), note="")
            self._bars.update(self._current, completed=self._bars.tasks[self._current].total)
            self._current = None


def make_progress(*, aside: bool = False) -> PlainProgress | BarProgress:
    """Return the progress that suits where the output goes.

    Args:
        aside: It goes to stderr, since stdout takes JSON.
    """
    import sys

    is_terminal = (sys.stderr if aside else sys.stdout).isatty()
    return BarProgress(aside=aside) if is_terminal else PlainProgress(aside=aside)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(clean(text)[:90])
