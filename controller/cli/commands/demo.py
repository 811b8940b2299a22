"""`controller demo`: the whole product on one machine."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.session import log_to_file, workspace

if TYPE_CHECKING:
    from controller.deploy.fleet_files import FoundFleet
    from controller.service import Service


@click.command()
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Agents, broker; default WORKSPACE/demo."
)
@click.option(
    "--models", type=click.Path(file_okay=False, path_type=Path), help="Folder of leaf_outline/; default: shipped."
)
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="Fleet file; default: shipped farm-sensors."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the broker; default: a free one.")
@click.option("--keep", is_flag=True, help="Keep broker and agents running afterwards, until Ctrl-C.")
def demo(folder: Path | None, models: Path | None, config: Path | None, port: int, keep: bool) -> None:
    """Deploy a real model to six local agents: three emulated device classes of 3, 2 and 1.

    Everything is real but the classes: a broker, agents as processes, measurements on this host's processor. The second
    run finds its work done and says so.
    """
    from controller.cli.commands.report import print_choices
    from controller.cli.progress import make_progress
    from controller.demo.run import DemoPlan, run_demo
    from controller.deploy.fleet_files import shipped
    from controller.report.write import read_report
    from controller.store.database import Store

    place = workspace()
    plan = DemoPlan(
        workspace=place,
        folder=(folder or place.root / "demo").absolute(),
        fleet_file=config or shipped("configs/fleets/farm-sensors.yaml"),
        models=models or shipped("models"),
        port=port,
        keep=keep,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    place.create()
    log_to_file()
    with make_progress() as progress:
        result = run_demo(plan, progress, _serve_until_interrupt)
    store = Store.open(place)
    document = read_report(store, result.deployment)
    store.close()
    if result.stage == "up_to_date":
        click.echo(f"the fleet is up to date: nothing to do since deployment {result.deployment}")
    print_choices(document)
    click.echo(f"took {result.wall_s:.0f} s, set-up aside; all classes are emulated on {document['host']['processor']}")
    click.echo(f"report: {result.files.html}\n        {result.files.json}")


def _serve_until_interrupt(found: "FoundFleet", service: "Service") -> None:
    from controller.deploy.serving import attend

    name = found.fleet_file.fleet
    click.echo(f"the fleet stays up; in another terminal: controller deploy --fleet {name} --config {found.path}")
    click.echo("Ctrl-C ends it")
    try:
        attend(service)
    except KeyboardInterrupt:
        click.echo("stopping")
