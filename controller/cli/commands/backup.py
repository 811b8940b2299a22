"""`controller backup`: the workspace in one file."""

import time
from pathlib import Path

import click

from controller.cli.output import bytes_text, json_option, print_json
from controller.cli.session import workspace


@click.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--dry-run", is_flag=True, help="Say which file would be written.")
@json_option
def backup(path: Path | None, dry_run: bool, as_json: bool) -> None:
    """Write database, keys, models, artifacts and reports to PATH; it may run beside `controller serve`.

    The file holds the signing key: keep it as you keep the key. Note the audit's head that it prints elsewhere.
    """
    from controller.cli.archive import back_up

    place = workspace()
    place.require()
    chosen = path or Path(f"thresher-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    if dry_run:
        click.echo(f"would write {place.root} to {chosen}")
        return
    facts = back_up(place, chosen)
    if as_json:
        print_json(facts)
    else:
        click.echo(f"{facts['path']}: {bytes_text(facts['bytes'])}, audit head {facts['audit_head']}")
