"""`controller model compress MODEL [--recipe NAME | --auto]`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.output import bytes_text, json_option, print_json, print_table
from controller.cli.session import workspace

if TYPE_CHECKING:
    from controller.cli.nouns.compress.on_fleet import Driver, OnFleet
    from controller.compress.recipe import Recipe

ALL = ("all",)
MOST_FOLDS = 20


class Span(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases alone
    """A span of time: a number and its unit, 90s, 30m or 2h; in seconds."""

    name = "time"
    UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}  # noqa: RUF012 - click's types are not instances of ours

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", str(value))
        if found is None or float(found[1]) <= 0:
            said = f"{value!r} is no span of time: give a number and s, m or h, such as 30m"
            raise click.BadParameter(said, ctx, param)
        return float(found[1]) * self.UNITS[found[2]]


@click.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    default=ALL,
    show_default=True,
    help="Shipped name, or a .yaml. With --auto: where the search begins; default: every shipped one.",
)
@click.option("--evaluate/--no-evaluate", default=True, help="Judge the variants on the evaluation samples, here.")
@click.option(
    "--attack",
    type=click.FloatRange(min=0, min_open=True),
    metavar="EPSILON",
    help="Attack variants too (FGSM, PGD): the largest change of a value, in the prepared input's unit.",
)
@click.option("--auto", is_flag=True, help="Search for recipes: the fastest and smallest that keep the limit, here.")
@click.option("--budget", type=Span(), default="10m", show_default=True, help="--auto: time of this run; 90s, 30m, 2h.")
@click.option(
    "--variants", type=click.IntRange(min=1), help="--auto: end after so many variants, those of earlier runs counted."
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0, max=100, max_open=True),
    default=1.0,
    show_default=True,
    help="--auto: the most that may be lost, in points of accuracy (of 100), or hundredths of R2.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="--auto: variants made side by side."
)
@click.option(
    "--folds",
    type=click.IntRange(1, MOST_FOLDS),
    help="--auto: cross-validate in so many folds; default: 3 below 500 training samples, else 1.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="--auto: of chance.")
@click.option("--fleet", help="--auto: its devices measure, and their times drive the search.")
@click.option("--workload", default="main", show_default=True, help="--fleet: whose classes and trials.")
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="--fleet: its file; else NAME.yaml is looked for."
)
@click.option(
    "--device-minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="--fleet: most that devices are asked for, all together, earlier runs of the same search counted.",
)
@click.option(
    "--driven-by",
    type=click.Choice(["devices", "host"]),
    default="devices",
    show_default=True,
    help="--fleet: whose times drive the search; host: devices measure at its end alone.",
)
@click.option("--yes", is_flag=True, help="--fleet: do not ask at a terminal.")
@click.option("--dry-run", is_flag=True, help="Say which variants would be made, or what would be searched.")
@json_option
def compress(
    reference: str,
    recipes: tuple[str, ...],
    evaluate: bool,
    attack: float | None,
    auto: bool,
    budget: float,
    variants: int | None,
    max_drop: float,
    workers: int,
    folds: int | None,
    seed: int,
    fleet: str | None,
    workload: str,
    config: Path | None,
    device_minutes: float,
    driven_by: "Driver",
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a model's variants on this host; nothing is sent to a device. A deploy finds them in the cache.

    With --auto, search: passes, their order and their parameters, on samples of the training part. What is found is
    judged on the evaluation samples at the end; the report's path is printed. A search that was ended, or killed, goes
    goes on with the same command.
    """
    from controller.compress.shipped import find_recipes, shipped_recipes

    workspace().require()
    if fleet is not None and not auto:
        raise click.UsageError("--fleet goes with --auto: `controller deploy` measures the variants of recipes")
    if not auto:
        _made(reference, find_recipes(recipes), evaluate, attack, dry_run=dry_run, as_json=as_json)
        return
    from controller.cli.nouns.compress.auto import Wish, search

    if attack is not None:
        raise click.UsageError("--attack goes with --recipe: the search does not look at it")
    if not evaluate:
        raise click.UsageError("--auto judges what it finds on the evaluation samples: leave --no-evaluate out")
    begin = tuple(shipped_recipes().values()) if recipes == ALL else find_recipes(recipes)
    on = None if fleet is None else _on_fleet(fleet, workload, config, device_minutes, driven_by=driven_by)
    wish = Wish(reference, begin, budget, variants, max_drop / 100, workers, seed, folds, on, yes)
    search(wish, dry_run=dry_run, as_json=as_json)


def _on_fleet(fleet: str, workload: str, config: Path | None, minutes: float, *, driven_by: "Driver") -> "OnFleet":
    from controller.cli.nouns.compress.on_fleet import OnFleet
    from controller.deploy.fleet_files import required_fleet

    found = required_fleet(fleet, config, workspace())
    found.fleet_file.workload(workload)
    return OnFleet(found, workload, minutes, driven_by)


def _made(
    reference: str,
    chosen: "tuple[Recipe, ...]",
    evaluate: bool,
    attack: float | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the variants of recipes and tell of them."""
    from controller.cli.variants import make_variants
    from controller.compress.variant import wanted_variants
    from controller.models.catalogue import find_model

    place = workspace()
    found = find_model(reference, place.models)
    if dry_run:
        names = [one.name for one in wanted_variants(chosen, found.formats)[0]]
        click.echo(f"would make {', '.join(names) or 'nothing'} of {found.identity}")
        return
    rows = make_variants(found, chosen, place, evaluate=evaluate, aside=as_json, epsilon=attack)
    if as_json:
        print_json({"model": found.identity, "variants": rows})
        return
    _told(found.identity, rows)


def _told(identity: str, rows: list[dict[str, Any]]) -> None:
    print_table(
        ("variant", "format", "engine", "score", "SQNR [dB]", "file", "made by"),
        [
            [each["variant"], each["format"], each["engine"], each["score"], each["sqnr_db"],
             bytes_text(each["disk_bytes"]), each["error"] or " > ".join(each["lineage"])]
            for each in rows
        ],
        title=identity,
    )  # fmt: skip
    _tell_attacks(rows)
    for each in rows:
        if each["against_baseline"]:
            click.echo(f"{each['variant']}: {each['against_baseline']}")


def _tell_attacks(rows: list[dict[str, Any]]) -> None:
    from controller.cli.nouns.compress.attacked import told

    baseline = rows[0]["robustness"] or {}
    for each in rows:
        if each["robustness"]:
            click.echo(told(each["variant"], each["robustness"], baseline))
