"""Entry of the `controller` command: the list of commands, and the one place where an error becomes an exit code."""

import os
import sys

import click

from controller.cli.failures import exit_code_of
from controller.cli.lazy import Entry, LazyGroup

_COMMANDS = "controller.cli.commands"
_NOUNS = "controller.cli.nouns"

ENTRIES = {
    "init": Entry(f"{_COMMANDS}.init:init", "Make a workspace: database, folders, signing key."),
    "doctor": Entry(f"{_COMMANDS}.doctor:doctor", "Check this machine, the workspace and the broker."),
    "demo": Entry(f"{_COMMANDS}.demo:demo", "Deploy a real model to six local agents, from nothing to a report."),
    "deploy": Entry(f"{_COMMANDS}.deploy:deploy", "Compress, measure on the fleet, choose, roll out."),
    "serve": Entry(f"{_COMMANDS}.serve:serve", "Run the service that carries deploys and rollouts on."),
    "broker": Entry(f"{_NOUNS}.broker:broker", "Run the embedded broker, or print broker configuration."),
    "model": Entry(f"{_NOUNS}.model:model", "Import, list, show and compress models."),
    "fleet": Entry(f"{_NOUNS}.fleet:fleet", "List fleets and show their devices."),
    "trial": Entry(f"{_NOUNS}.trial.group:trial", "List, show, compare and export what devices measured."),
    "sample": Entry(f"{_NOUNS}.sample:sample", "List and export queries that devices captured."),
    "rollout": Entry(f"{_NOUNS}.rollout:rollout", "List, show and steer rollouts."),
    "report": Entry(f"{_COMMANDS}.report:report", "Show what a deploy did, as text, JSON or HTML."),
    "backup": Entry(f"{_COMMANDS}.backup:backup", "Write the workspace into one archive."),
    "restore": Entry(f"{_COMMANDS}.restore:restore", "Put a workspace back from an archive."),
    "audit": Entry(f"{_NOUNS}.audit:audit", "Verify the chain of decisions."),
    "completion": Entry(f"{_COMMANDS}.completion:completion", "Print a shell completion script."),
}


@click.group(cls=LazyGroup, entries=ENTRIES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--workspace",
    type=click.Path(file_okay=False),
    envvar="THRESHER_HOME",
    default=".thresher",
    show_default=True,
    help="Folder of the database, keys, models and artifacts (variable THRESHER_HOME).",
)
@click.version_option(package_name="thresher", prog_name="controller")
@click.pass_context
def cli(ctx: click.Context, workspace: str) -> None:
    """Compress a model many ways, measure the variants on the devices that will run them, roll out the best."""
    ctx.obj = workspace


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the code of what happened."""
    # Newer onnxruntime versions start a telemetry thread unless told otherwise before the import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        outcome = cli.main(args=arguments, prog_name="controller", standalone_mode=False)
    except BaseException as exc:  # the outermost frame: whatever happened becomes one message and one exit code
        return exit_code_of(exc)
    return outcome if isinstance(outcome, int) else 0
