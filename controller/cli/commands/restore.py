"""`controller restore`: a workspace from a backup."""

from pathlib import Path

import click

from controller.cli.output import time_text
from controller.cli.session import workspace


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Move the workspace that is there aside.")
@click.option("--dry-run", is_flag=True, help="Check the backup and change nothing.")
def restore(path: Path, replace: bool, dry_run: bool) -> None:
    """Put the workspace back from the backup PATH.

    Devices that were told newer things meanwhile stay in command of the restored controller: it numbers its next
    documents above all that the fleet has seen, and downgrades nothing by itself.
    """
    from controller.cli.archive import read_facts
    from controller.cli.archive import restore as put_back

    place = workspace()
    facts = read_facts(path)
    if dry_run:
        click.echo(f"would restore {place.root} to its state of {time_text(facts['made_s'])}")
        return
    former = put_back(place, path, replace=replace)
    click.echo(f"{place.root} is as it was at {time_text(facts['made_s'])}")
    if former:
        click.echo(f"the former workspace is in {former}")
