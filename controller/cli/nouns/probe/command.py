"""`controller model probe`: variants' outputs on emulated processors, and the root that ARM ones need."""

from typing import TYPE_CHECKING, Any

import click

from controller.cli.output import bytes_text, json_option, print_json, print_table
from controller.cli.session import workspace
from controller.compress.probe.processors import PROCESSORS

if TYPE_CHECKING:
    from controller.cli.nouns.probe.probing import Probed

DEFAULT_RECIPES = ("int8-u8s8-minmax", "int8-u8u8-minmax", "int8-s8s8-minmax", "tflite-int8-static")
ONLY_OUTPUTS = "outputs only: nothing here tells how fast these processors are"


@click.command()
@click.argument("reference", metavar="[NAME[@VERSION]]", required=False)
@click.option("--cpu", "cpus", multiple=True, type=click.Choice(list(PROCESSORS)), help="Processor; may be repeated.")
@click.option(
    "--recipe", "recipes", multiple=True, default=DEFAULT_RECIPES, show_default=True, help="Shipped name, or a .yaml."
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    default=128,
    show_default=True,
    help="Evaluation samples, at most.",
)
@click.option("--install", is_flag=True, help="Make the root that ARM processors need, from pinned packages.")
@click.option("--mirror", metavar="URL", help="With --install: a Debian mirror; default: the one that apt knows.")
@click.option("--remove", is_flag=True, help="Delete that root.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@json_option
def probe(
    reference: str | None,
    cpus: tuple[str, ...],
    recipes: tuple[str, ...],
    samples: int,
    install: bool,
    mirror: str | None,
    remove: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Say what a model's variants answer on processors that are not here, under emulation: outputs, never speed.

    Without a model: which processors can be emulated here.
    """
    if sum((install, remove, reference is not None)) > 1:
        raise click.UsageError("a model, --install and --remove exclude each other: one at a time")
    if mirror is not None and not install:
        raise click.UsageError("--mirror says where --install fetches from")
    if install:
        _install(mirror, dry_run)
    elif remove:
        _remove(dry_run)
    elif reference is None:
        _status(as_json)
    elif not cpus:
        raise click.UsageError(f"--cpu says on which processor: {', '.join(PROCESSORS)}")
    else:
        _probe(reference, (tuple(dict.fromkeys(cpus)), recipes, samples), dry_run, as_json)


def _install(mirror: str | None, dry_run: bool) -> None:
    from controller.cli.progress import make_progress
    from controller.compress.probe.root import places
    from controller.compress.probe.root.install import install as make
    from controller.compress.probe.root.install import plan

    if places.fault() is None:
        click.echo(f"the root for ARM processors is installed in {places.root_folder()}")
        return
    wanted = plan(mirror)
    told = (
        f"{wanted.packages} packages, about {bytes_text(wanted.download_bytes)} to download (Debian's from "
        f"{wanted.mirror}), {bytes_text(wanted.installed_bytes)} installed, into {wanted.folder}"
    )
    click.echo(f"{'would install' if dry_run else 'installing'} {told}")
    if not dry_run:
        with make_progress() as progress:
            root = make(progress, mirror)
        click.echo(f"the root for ARM processors is installed in {root}")


def _remove(dry_run: bool) -> None:
    from controller.compress.probe.root import places
    from controller.compress.probe.root.install import remove as delete

    root = places.root_folder()
    if dry_run:
        click.echo(f"would remove {root}" if root.exists() else "no root is there: nothing to remove")
    else:
        click.echo(f"removed {root}" if delete() else "no root was there")


def _status(as_json: bool) -> None:
    from controller.cli.nouns.probe.probing import status

    document = status()
    if as_json:
        print_json(document)
        return
    print_table(
        ("processor", "can be probed here", "emulator", "what it is"),
        [
            [row["cpu"], "yes" if row["fault"] is None else f"no: {row['fault']}", row["emulator"], row["title"]]
            for row in document["processors"]
        ],
    )
    root = document["root"]
    state = f"installed, {bytes_text(root['disk_bytes'])}" if root["installed"] else f"it {root['fault']}"
    click.echo(f"root for ARM processors: {root['folder']} ({state})")


def _probe(reference: str, asked: tuple[tuple[str, ...], tuple[str, ...], int], dry_run: bool, as_json: bool) -> None:
    from controller.cli.nouns.probe.probing import probe_model
    from controller.compress.probe.emulated import machine_of
    from controller.compress.shipped import find_recipes
    from controller.compress.variant import wanted_variants
    from controller.errors import ConfigurationError
    from controller.models.catalogue import find_model

    place = workspace()
    place.require()
    cpus, names, samples = asked
    model, recipes = find_model(reference, place.models), find_recipes(names)
    wanted, _ = wanted_variants(recipes, model.formats)
    if not wanted:
        raise ConfigurationError(f"none of the recipes {', '.join(names)} is for a format that {model.identity} has")
    machines = [machine_of(PROCESSORS[name]) for name in cpus]
    if dry_run:
        variants = ", ".join(one.name for one in wanted)
        click.echo(f"would run {variants} of {model.identity} on {', '.join(cpus)}, {samples} samples each")
        return
    found = probe_model(model, wanted, machines, place, samples=samples, aside=as_json)
    if as_json:
        print_json({"model": model.identity, "measures": "outputs only, never speed", **found.document()})
        return
    _print(model.identity, found)


def _print(identity: str, found: "Probed") -> None:
    for check in found.checks:
        click.echo(f"{check.cpu}, {check.told}")
    print_table(
        (
            "variant",
            "processor",
            "engine",
            "SQNR [dB]",
            "same top-1",
            "here [dB]",
            "same top-1",
            "answers as here",
        ),
        [_cells(row) for row in found.rows],
        title=f"{identity}: against the baseline's outputs on this machine, {found.samples} {found.source} samples",
    )
    for row in found.rows:
        if row["error"]:
            click.echo(f"{row['variant']} on {row['cpu']}: {row['error']}")
    click.echo(ONLY_OUTPUTS)


def _cells(row: dict[str, Any]) -> list[object]:
    engine = f"{row['engine']} {row['engine_version']}"
    if row["here_engine_version"] != row["engine_version"]:
        engine += f" (here {row['here_engine_version']})"
    nothing = row["error"] is not None
    same: object = None
    if not nothing:
        largest = row["largest_difference_from_here"]
        same = "bit for bit" if row["equals_here"] else f"up to {largest:.2g} apart"
    there = [_decibels(row["sqnr_db"], nothing), _share(row["agreement_ratio"], row["samples"])]
    here = [_decibels(row["here_sqnr_db"], nothing), _share(row["here_agreement_ratio"], row["samples"])]
    return [row["variant"], row["cpu"], "failed" if nothing else engine, *there, *here, same]


def _decibels(value: float | None, nothing: bool) -> object:
    if nothing:
        return None
    return "exact" if value is None else round(value, 1)


def _share(ratio: float | None, samples: int) -> str | None:
    return None if ratio is None else f"{round(ratio * samples)} of {samples}"
