"""`controller init`: a workspace with its database and signing key."""

import click

from controller.cli.session import opened, workspace


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be made and make nothing.")
def init(dry_run: bool) -> None:
    """Make a workspace: folders, database, and the key that signs what devices are told.

    Running it again keeps what is there. The public key that it prints belongs into each agent's configuration.
    """
    from controller.keys import create_key, write_trusted_keys

    place = workspace()
    if dry_run:
        click.echo(f"would {'keep' if place.exists else 'make'} the workspace {place.root}")
        return
    place.create()
    with opened():
        key = create_key(place.keys)
    click.echo(f"workspace {place.root}")
    click.echo(f"signing key {place.keys} (keep a copy: `controller backup`)")
    write_trusted_keys(key, place.trusted_keys)
    click.echo(f"for each agent's configuration (or a copy of {place.trusted_keys}, named by trusted_keys_file):")
    click.echo(f"trusted_keys: {{{key.key_id}: {key.public}}}")
