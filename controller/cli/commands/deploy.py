"""`controller deploy`: the main thing: compress, measure on the fleet, choose, roll out."""

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.output import print_json
from controller.cli.session import log_to_file, opened, workspace

if TYPE_CHECKING:
    from controller.deploy.fleet_files import FoundFleet
    from controller.deploy.settings import DeploySettings


@click.command()
@click.option("--fleet", required=True, help="Name of the fleet.")
@click.option("--workload", default="main", show_default=True, help="What the devices are for.")
@click.option(
    "--model", metavar="NAME@VERSION", help="Model in place of the fleet file's; a model folder's path works too."
)
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="Fleet file; else NAME.yaml is looked for."
)
@click.option("--dry-run", is_flag=True, help="Say what would be made, measured and rolled out; change nothing.")
@click.option("--retry", is_flag=True, help="Let devices try a bundle again that they rolled back and quarantined.")
@click.option("--yes", is_flag=True, help="Do not ask at a terminal.")
@click.option("--watch", is_flag=True, help="Keep watching while the rollout is paused, instead of ending.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print JSON.")
def deploy(
    fleet: str,
    workload: str,
    model: str | None,
    config: Path | None,
    dry_run: bool,
    retry: bool,
    yes: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Deploy a model to a fleet: make variants, have the devices measure them, roll the best one of each class out.

    At a terminal it shows what it will cost and asks; without one (or with --yes) it goes ahead: nobody could answer.
    Ctrl-C leaves every device with a whole bundle, and the same command goes on where it stopped. A running
    `controller serve` does the work; otherwise this process does, until the rollout ends.
    """
    from controller.deploy.fleet_files import required_fleet
    from controller.deploy.settings import read_settings

    workspace().require()
    found = required_fleet(fleet, config, workspace())
    settings = read_settings(found, workload, model, workspace())
    if dry_run or (sys.stdin.isatty() and sys.stdout.isatty() and not yes):
        _preview(settings, as_json)
        if dry_run:
            return
        click.confirm("deploy", abort=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _carry_out(found, settings, watch, retry)


def _preview(settings: "DeploySettings", as_json: bool) -> None:
    from controller.deploy.pipeline import check_settings
    from controller.deploy.planning.dry_run import preview, preview_lines
    from controller.fleet.views import device_views
    from controller.models.samples import evaluation_samples

    check_settings(settings, evaluation_samples(settings.model, workspace().datasets))
    with opened() as store, store.read() as session:
        found = preview(settings, device_views(session, settings.fleet))
    if as_json:
        print_json(found.document())
    else:
        click.echo("\n".join(preview_lines(found)))


def _carry_out(found: "FoundFleet", settings: "DeploySettings", watch: bool, retry: bool) -> None:
    from controller.cli.progress import make_progress
    from controller.deploy.carry import carry
    from controller.deploy.fleet_files import broker_settings
    from controller.deploy.request import request_deploy

    broker = broker_settings(found)
    log_to_file()
    with opened() as store:
        request = request_deploy(store, settings, time.time(), retry=retry)
    with make_progress() as progress:
        doing = "going on with" if request.resumed else "deployment"
        progress.say(
            f"{doing} {request.deployment} of {settings.model.identity} to {settings.fleet}/{settings.workload_name}"
        )
        try:
            stage = carry(workspace(), broker, request.deployment, progress, watch=watch)
        finally:
            _report(request.deployment)
    show_outcome(stage, request.deployment)


def _report(deployment: str) -> None:
    """Write the report, also of a deploy that ended badly: it shows why."""
    from controller.errors import ControllerError
    from controller.report.write import write_report

    try:
        with opened() as store:
            write_report(store, workspace(), deployment)
    except ControllerError as exc:
        click.echo(f"the report could not be written: {exc}", err=True)


def show_outcome(stage: str, deployment: str) -> None:
    """Print what was chosen and where the report is; those of the earlier deploy where the fleet is up to date."""
    from controller.cli.commands.report import print_choices
    from controller.report.write import read_report

    with opened() as store:
        document = read_report(store, deployment)
        if stage == "up_to_date":
            deployment = document["deployment"]["result"]["same_as"]
            click.echo(
                f"fleet {document['deployment']['fleet']} is up to date: nothing to do since deployment {deployment}"
            )
            document = read_report(store, deployment)
    print_choices(document)
    folder = workspace().reports / deployment
    click.echo(f"report: {folder / 'report.html'}\n        {folder / 'report.json'}")
