"""The `agent` command: one file a command, each loaded only when it is called.

Decides: names, one-line helps, and that an `AgentError` becomes one line and its exit code. `agent --help` imports
click and nothing else.
"""

import importlib
import logging
import sys
from collections.abc import Sequence

import click

from agent.errors import AgentError

COMMANDS = {
    "install": "Install the agent on this device as a service, and enrol it.",
    "enrol": "Claim this device's name with a token.",
    "run": "Run the agent until SIGTERM or Ctrl-C.",
    "status": "Show what this device serves, updates and measures.",
    "doctor": "Check what the agent needs on this device.",
    "warm": "Compile the kernels now, so that no worker compiles while it serves.",
    "bench": "Measure a bundle on this device, without a controller.",
    "upgrade": "Install a new release beside the running one, and go back if it does not connect.",
    "uninstall": "Take the agent off this device.",
}
"""command -> its one-line help."""

INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order of a device's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command `cmd_name`, or None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"agent.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from agent.inventory import agent_version

        click.echo(f"agent {agent_version()}")
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def entry() -> None:
    """Run models on this device, measure variants, take updates from the controller."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run a command, exit with the code of what went wrong.

    Exit codes: 0 ok, 1 unexpected, 2 usage, 3 configuration, 4 not found, 5 bundle or engine unusable, 6 broker,
    9 another agent runs here, 11 trust, 12 disk, 13 not installed, 14 fell back to the former release, 15 slower,
    16 no verdict, 130 interrupted.
    """
    try:
        code = entry.main(args=arguments, prog_name="agent", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except AgentError as exc:
        click.echo(f"error ({exc.reason}): {exc}", err=True)
        sys.exit(exc.exit_code)


def log_to_stderr(verbose: bool = False) -> None:
    """Write logs as lines on stderr, where systemd's journal takes them."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
