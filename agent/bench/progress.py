"""What `agent bench` says while it measures, on stderr: a line that changes at a terminal, else a line an event."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import click

Listener = Callable[[str, Mapping[str, Any]], None]

SAID: Mapping[str, str] = {
    "begin": "getting ready: kernels are compiled where they are not yet, and an idle device is waited for",
    "replicate": "process {place}: {name}",
    "loads": "cold and warm starts: {name}",
    "memory": "memory and answers: {name}",
    "profile": "operators: {name}",
    "left_out": "left out: {name}: {detail}",
    "not_warm": "kernels are not compiled: {detail}",
    "not_in_lock_step": "not in lock-step, but process by process: {detail}",
    "not_started": "a worker did not start, once more: {detail}",
    "trial": "{name}: {outcome}",
}
"""Event -> what is said of it; others are left out."""


@contextlib.contextmanager
def shown() -> Iterator[Listener]:
    """Return who is told of events. At a terminal, where rich is installed, one line is written over and over."""
    if sys.stderr.isatty() and find_spec("rich") is not None:
        from rich.console import Console

        with Console(stderr=True).status("measuring") as status:
            yield lambda event, fields: status.update(_text(event, fields) or "measuring")
    else:
        start = time.monotonic()
        yield lambda event, fields: _line(time.monotonic() - start, _text(event, fields))


def _line(seconds: float, text: str) -> None:
    if text:
        click.echo(f"[{seconds:6.1f} s] {text}", err=True)


def _text(event: str, fields: Mapping[str, Any]) -> str:
    """Return the event in words; a field that it does not carry is left blank."""
    variant, point = fields.get("variant", ""), str(fields.get("trial", "bench")).removeprefix("bench").lstrip("-")
    known = {"place": "", "detail": "", "outcome": "", **fields, "name": f"{variant} {point}".strip()}
    if isinstance(known["place"], int):
        known["place"] += 1
    return SAID[event].format_map(known) if event in SAID else ""
