"""The command lines as a page: every command's own `--help`, in one document.

Decides: order and layout. Leaves out: the texts, which stand with the commands.
"""

import copy
from collections.abc import Iterator

import click

from agent.cli import entry as agent
from controller.cli.entry import cli as controller
from simulator.cli import entry as simulator

WIDTH = 100

PAGE = """\
# Command lines

What `--help` says, for every command. [Exit codes](exit-codes.md) are the same for all three. Where the names `agent`
and `controller` are taken, `thresher-agent` and `thresher-controller` are the same programs.

{note}
{commands}
"""


def page(note: str) -> str:
    """Return the page of all command lines."""
    sections = [
        f"## {' '.join(path)}\n\n```\n{help_of(path, command)}\n```\n"
        for name, group in (("agent", agent), ("controller", controller), ("simulator", simulator))
        for path, command in walk(group, (name,))
    ]
    return PAGE.format(note=note, commands="\n".join(sections))


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command and every command below it, with their paths."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                yield from walk(below, (*path, name))


def help_of(path: tuple[str, ...], command: click.Command) -> str:
    """Return a command's help at a fixed width, without spaces at line ends."""
    fresh = copy.copy(command)
    # click keeps the help option that a command was first asked with; another one's names must not show here.
    vars(fresh)["_help_option"] = None
    context = click.Context(
        fresh,
        info_name=" ".join(path),
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    return "\n".join(line.rstrip() for line in fresh.get_help(context).splitlines())
