"""`controller serve`: the service as a daemon: it leads the workspace and carries deploys and rollouts on."""

import logging
import signal
from pathlib import Path

import click

from controller.cli.session import workspace


@click.command()
@click.option("--fleet", "fleets", multiple=True, required=True, help="Fleet to listen to; may be given again.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Fleet file (with one --fleet).")
@click.option(
    "--http",
    default=None,
    metavar="HOST:PORT",
    envvar="THRESHER_HTTP",
    help="Where /metrics, /healthz and /readyz are read, or `off`.  [default: 127.0.0.1:9469, if it is free]",
)
@click.option(
    "--metrics-devices",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Devices of each fleet that /metrics tells of by name.",
)
@click.option("--dry-run", is_flag=True, help="Check the configuration and the broker's address; start nothing.")
def serve(fleets: tuple[str, ...], config: Path | None, http: str | None, metrics_devices: int, dry_run: bool) -> None:
    """Run until SIGTERM or Ctrl-C: answer devices, carry rollouts on, do the deploys that are asked for.

    All fleets use one broker: that of the first fleet's file. One process leads a workspace; a second one is refused.
    """
    from controller.deploy.fleet_files import broker_settings, required_fleet
    from controller.deploy.serving import serve_forever
    from controller.errors import ConfigurationError
    from controller.export.server import DEFAULT, read_address
    from controller.export.serving import HttpSettings

    if config is not None and len(fleets) > 1:
        raise click.UsageError("--config goes with one --fleet; put the files of several into the workspace's fleets/")
    place = workspace()
    place.require()
    found = {name: required_fleet(name, config, place) for name in fleets}
    addresses = {broker_settings(each) for each in found.values()}
    if len(addresses) > 1:
        raise ConfigurationError(f"fleets {', '.join(fleets)} name different brokers: run one `serve` for each broker")
    (broker,) = addresses
    listened = read_address(http or DEFAULT)
    files = {name: each.fleet_file for name, each in found.items()}
    pages = HttpSettings(listened, files, http is not None, metrics_devices) if listened is not None else None
    if dry_run:
        click.echo(f"would serve {', '.join(fleets)} of {place.root} through the broker at {broker.shown}")
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    click.echo(f"serving {', '.join(fleets)} of {place.root} through the broker at {broker.shown}; Ctrl-C ends it")
    try:
        serve_forever(place, broker, fleets, pages)
    except KeyboardInterrupt:
        click.echo("stopped; rollouts go on with the next `serve` or `deploy`")
