"""A click group that imports a command only when it is called, so that `--help` stays quick.

Decides: names, one-line summaries, where each command lives. Leaves out: what commands do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import click


@dataclass(frozen=True)
class Entry:
    """Where a command lives (`module:attribute`) and what the list of commands says of it."""

    where: str
    summary: str


class LazyGroup(click.Group):
    """A group whose members are known by name and summary before they are imported."""

    def __init__(self, *args: object, entries: Mapping[str, Entry] | None = None, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.entries = dict(entries or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.entries:
            return super().get_command(ctx, cmd_name)
        module, attribute = self.entries[cmd_name].where.split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        here = {name: command.get_short_help_str(limit=200) for name, command in sorted(self.commands.items())}
        elsewhere = {name: entry.summary for name, entry in self.entries.items()}
        with formatter.section("Commands"):
            formatter.write_dl(list({**elsewhere, **here}.items()))
