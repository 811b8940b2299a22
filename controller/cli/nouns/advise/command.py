"""`controller model advise MODEL`: which methods fit, in words."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from controller.cli.output import json_option, print_json, print_table
from controller.cli.session import workspace

if TYPE_CHECKING:
    from controller.compress.advise.facts import Facts


@click.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option("--fleet", metavar="NAME", help="Say too what its devices' processors mean for the scheme.")
@json_option
def advise(reference: str, fleet: str | None, as_json: bool) -> None:
    """Say which methods of compression fit a model, and why: from its operators, sizes, samples, and what int8 costs.

    Advice says where to begin; `controller model compress` makes variants and judges them.
    """
    from controller.cli.progress import make_progress
    from controller.compress.advise.gather import gathered
    from controller.compress.advise.words import advise as advised
    from controller.models.catalogue import find_model

    place = workspace()
    place.require()
    found = find_model(reference, place.models)
    with make_progress(aside=as_json) as progress:
        progress.stage("looking at operators", 1)
        facts = gathered(found, place.cache, place.datasets)
        progress.advance(found.identity)
    rows, devices = advised(facts), _of_devices(fleet) if fleet else []
    if as_json:
        advice = [asdict(each) for each in rows]
        print_json({"model": found.identity, "facts": asdict(facts), "advice": advice, "devices": devices})
        return
    click.echo(_summary(found.identity, facts))
    cells = [[each.method, each.fit, each.because, each.recipe] for each in rows]
    print_table(("method", "fits", "because", "recipe"), cells)
    for line in devices:
        click.echo(line)


def _of_devices(fleet: str) -> list[str]:
    """Return what the devices that were seen in a fleet mean for the scheme."""
    from controller.cli.session import opened
    from controller.compress.advise.devices import Runner, advise_devices
    from controller.errors import NotFound
    from controller.fleet.views import device_views

    with opened() as store, store.read() as session:
        known = [view.inventory for view in device_views(session, fleet) if view.inventory is not None]
    if not known:
        raise NotFound(f"no device of fleet {fleet!r} has said what it has; start its agents, or leave --fleet out")
    return advise_devices(
        Runner(one.machine, frozenset(one.isa), frozenset(e.name for e in one.engines)) for one in known
    )


def _summary(identity: str, facts: "Facts") -> str:
    said = (
        f"{identity}: {facts.parameters:,} parameters, {facts.macs:,} multiply-accumulates, {facts.disk_bytes:,} bytes"
    )
    worst = _worst(facts.sensitivity)
    return f"{said}; most sensitive to int8: {worst}" if worst else said


def _worst(sensitivity: Any) -> str:
    return ", ".join(f"{name} {db:.1f} dB" for name, db in list(sensitivity.items())[:3])
