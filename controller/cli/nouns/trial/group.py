"""`controller trial`: the list of its commands; each is imported when it is called."""

import click

from controller.cli.lazy import Entry, LazyGroup

_HERE = "controller.cli.nouns.trial"

ENTRIES = {
    "list": Entry(f"{_HERE}.listing:list_", "List the trials of a deployment."),
    "show": Entry(f"{_HERE}.show:show", "Show one trial: its conditions, validity, phases, operators."),
    "fleet": Entry(f"{_HERE}.fleet:fleet", "Show latency over the whole fleet, and devices that stand out."),
    "compare": Entry(f"{_HERE}.compare:compare", "Compare two trials: faster, slower, or no difference seen."),
    "export": Entry(f"{_HERE}.export:export", "Write trials, or their samples, to Parquet or CSV."),
}


@click.group(cls=LazyGroup, entries=ENTRIES)
def trial() -> None:
    """List, show, compare and export what devices measured."""
