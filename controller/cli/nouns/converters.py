"""`controller model converters install|list|remove`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.output import bytes_text, json_option, print_json, print_table

if TYPE_CHECKING:
    from controller.convert.environments.make import Plan


@click.group()
def converters() -> None:
    """Install, list and remove environments of converters (torch, onnx2tf, tensorflow)."""


@converters.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--python", type=click.Path(dir_okay=False, path_type=Path), help="Interpreter to use; looked for otherwise."
)
@click.option("--dry-run", is_flag=True, help="Say what would be downloaded, and into where.")
def install(names: tuple[str, ...], python: Path | None, dry_run: bool) -> None:
    """Make a converter environment from its lock: torch, onnx2tf or tensorflow. One that is there stays as it is."""
    from controller.cli.progress import make_progress
    from controller.convert.environments import environment
    from controller.convert.environments import install as make
    from controller.convert.environments.install import plan
    from controller.convert.environments.places import root_of

    for name in names:
        root_of(name)  # a wrong name is told before anything is downloaded
    for name in names:
        if (found := environment(name)) is not None:
            click.echo(f"{name} is installed in {found.root}")
        elif dry_run:
            click.echo(f"would install {_told(plan(name, python))}")
        else:
            click.echo(f"installing {_told(plan(name, python))}")
            with make_progress() as progress:
                made = make(name, progress, python)
            click.echo(f"{name} is installed in {made.root}")


@converters.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the converter environments: which are installed, how large they are, what they hold."""
    from controller.convert.environments import listing

    rows = listing()
    if as_json:
        print_json(rows)
        return
    print_table(
        ("name", "installed", "Python", "size", "packages", "folder"),
        [
            [row["name"], "yes" if row["installed"] else f"no: {row['fault']}",
             row["python"] or f"needs {' or '.join(row['pythons'])}",
             bytes_text(row["disk_bytes"]), len(row["versions"]) or None, row["folder"]]
            for row in rows
        ],
    )  # fmt: skip


@converters.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
def remove(names: tuple[str, ...], dry_run: bool) -> None:
    """Delete converter environments; models that they converted stay."""
    from controller.convert.environments import remove as delete
    from controller.convert.environments.places import root_of

    roots = {name: root_of(name) for name in names}
    for name, root in roots.items():
        if dry_run:
            click.echo(f"would remove {root}" if root.exists() else f"{name} is not there: nothing to remove")
        else:
            click.echo(f"removed {root}" if delete(name) else f"{name} was not there")


def _told(wanted: "Plan") -> str:
    size = ""
    if wanted.download_bytes is not None:
        size = (
            f", about {bytes_text(wanted.download_bytes)} to download, {bytes_text(wanted.installed_bytes)} installed"
        )
    return f"{wanted.name}: {wanted.packages} packages for {wanted.python}{size}, into {wanted.folder}"
