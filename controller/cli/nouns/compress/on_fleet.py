"""`controller model compress MODEL --auto --fleet FLEET`: open the fleet for a search, and tell what its classes take.

Decides: where the latency tables lie, and that device-minutes are asked for at a terminal. Leaves out: the search
(`controller/compress/search`) and trials (`controller/tuning`).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import click

from controller.cli.output import print_table
from controller.cli.session import log_to_file, opened
from controller.compress.evaluate import EvaluationContext, evaluate
from controller.compress.search.classes.measurer import Subject
from controller.compress.search.classes.rounds import Rounds
from controller.compress.search.examine import Bench, made_of
from controller.compress.search.genome import Space
from controller.compress.search.table.shelf import Shelf
from controller.compress.variant import Variant, baseline_variant, recipe_document
from controller.deploy.fleet_files import FoundFleet
from controller.deploy.planning.trial_plan import is_control
from controller.deploy.settings import DeploySettings
from controller.fleet.views import device_views
from controller.models.folder import ModelFolder
from controller.report.compress.fleet import Measured
from controller.store import tables
from controller.tuning.measurer import FleetMeasurer
from controller.tuning.row import search_id
from controller.tuning.site import Asked, opened_fleet, preview_lines, search_settings
from controller.workspace import Workspace

Driver = Literal["devices", "host"]
TABLES = "latency"
"""Folder of the workspace's searches in which latency tables lie, a file a fleet."""


@dataclass(frozen=True)
class OnFleet:
    """A fleet whose devices measure for a search. minutes: of devices. driven_by: `devices`: they are measured as the
    search goes on; `host`: at its end alone."""

    found: FoundFleet
    workload: str
    minutes: float
    driven_by: Driver = "devices"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that run the workload."""
        return tuple(each.name for each in self.found.fleet_file.classes_of(self.workload))

    @property
    def identity(self) -> list[Any]:
        """What of it a search's results depend on, apart from the minutes: more of them go on where fewer ended."""
        file = self.found.fleet_file
        trials = file.workload(self.workload).trials.model_dump(mode="json")
        return [file.fleet, self.workload, list(self.classes), trials, self.driven_by]

    def settings(self, model: ModelFolder) -> DeploySettings:
        """Return what of the fleet's file the search goes by."""
        return search_settings(self.found, self.workload, model)


def tell_cost(fleet: OnFleet, model: ModelFolder, *, ask: bool, aside: bool) -> None:
    """Say what is asked of the devices; at a terminal, ask whether to go on.

    Raises:
        Abort: The user would not.
    """
    with opened() as store, store.read() as session:
        lines = preview_lines(fleet.settings(model), device_views(session, fleet.found.fleet_file.fleet), fleet.minutes)
    click.echo("\n".join(lines), err=aside)
    if ask and sys.stdin.isatty() and sys.stdout.isatty():
        click.confirm("search", abort=True)


@contextmanager
def rounds_of(
    fleet: OnFleet, bench: Bench, space: Space, folder: Path, place: Workspace, told: Callable[[str], None]
) -> Iterator[tuple[Rounds, FleetMeasurer]]:
    """Yield the rounds of a search on a fleet, and what measures them; raises as `opened_fleet`."""
    log_to_file()
    told("making the controls")
    asked = Asked(search_id(folder.name), fleet.minutes, controls_of(bench, space), bench.golden)
    with opened_fleet(place, fleet.found, fleet.settings(bench.model), asked, told) as measurer:
        shelf = Shelf(place.searches / TABLES / f"{fleet.found.fleet_file.fleet}.jsonl")
        yield Rounds(measurer, shelf, bench, told, measures=fleet.driven_by == "devices"), measurer


def controls_of(bench: Bench, space: Space) -> list[Subject]:
    """Return the uncompressed forms of a model: the baseline, and float files of it for other engines."""
    first = baseline_variant(bench.model)
    rows = [tables.Variant(variant=recipe.name, recipe=recipe_document(recipe)) for recipe in space.seeds]
    forms = [recipe for recipe, row in zip(space.seeds, rows, strict=True) if is_control(row)]
    made = [made_of(recipe, bench, bench.folds[0].calibration, None) for recipe in forms]
    variants = [first, *(each for each in made if isinstance(each, Variant) and each.engine != first.engine)]
    context, look = EvaluationContext(bench.cache, bench.golden), bench.looks[0]
    return [
        Subject(each, evaluate(each, look.samples, look.baseline.outputs(), context).golden_outputs)
        for each in variants
    ]


def measured_of(fleet: OnFleet, rounds: Rounds, measurer: FleetMeasurer) -> Measured:
    """Return what the fleet did, for the report."""
    return Measured(
        fleet=fleet.found.fleet_file.fleet,
        workload=fleet.workload,
        driven_by=fleet.driven_by,
        minutes=fleet.minutes,
        spent=fleet.minutes - measurer.minutes_left,
        classes=fleet.classes,
        checked=rounds.checked,
        readings=rounds.readings,
    )


def tell_classes(part: dict[str, Any]) -> None:
    """Print what each class would take."""
    print_table(
        ("class", "takes", "speed-up", "p50 [ms]", "control [ms]", "lost, validation", "measured"),
        [
            [name, each["pick"] or "the control", 1 / each["ratio"] if each["ratio"] else None, each["p50_ms"],
             each["control_ms"], each["loss"], each["measured"]]
            for name, each in part["classes"].items()
        ],
        title=f"fleet {part['name']}: measured by its devices, {part['minutes_spent']:.1f} device-minutes",
    )  # fmt: skip
    for name, each in part["classes"].items():
        for variant, because in each["not_measured"].items():
            click.echo(f"{name}: {variant}: {because}")
        if each["table"]:
            click.echo(f"{name}: latency table: {each['table']['because']}")
