"""`controller trial fleet`: what the trials say of the whole class, and which devices stand out."""

from typing import Any

import click

from controller.cli.output import clean, json_option, print_json, print_table
from controller.cli.session import reading

_LEAST_PERCENT = 0.05


@click.command()
@click.option("--deployment", help="Of this deployment; else of the newest one.")
@json_option
def fleet(deployment: str | None, as_json: bool) -> None:
    """Show latency over the whole fleet, where its variance comes from, and devices that stand out."""
    from controller.report.build import latest_id
    from controller.report.fleetwide.section import fleetwide_rows
    from controller.store import deployments

    with reading() as session:
        chosen = deployment or latest_id(session)
        deployments.get(session, chosen)
        rows = fleetwide_rows(session, chosen)
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"deployment {clean(chosen)}: no record came back yet")
    for row in rows:
        _print_class(row)


def _print_class(row: dict[str, Any]) -> None:
    title = ", ".join(clean(part) for part in _parts(row))
    if row["because"]:
        click.echo(f"{title}\nNothing can be said of the whole class: {clean(row['because'])}.")
    else:
        print_table(
            (
                "variant", "devices", "p50 [ms]", "p95 [ms]", "95 % of devices: p50 below [ms]", "speed-up", "device %",
                "process %", "time %", "query %", "device x variant %",
            ),
            [_cells(each) for each in row["variants"]],
            title=f"over the fleet: {title}",
        )  # fmt: skip
        click.echo("Per cent: spread (standard deviation) of latency by each source; speed-up: devices divided out.")
    for note in row["notes"]:
        click.echo(note)
    if row["device_factors"]:
        shown = (f"{clean(each['device'])} {each['control_ratio']:.2f}" for each in row["device_factors"])
        click.echo(f"Each device's time over its class's, by the control: {', '.join(shown)}.")
    for each in row["variants"]:
        if each["because"]:
            click.echo(f"{clean(each['variant'])}: {clean(each['because'])}")
        if each["p95_without_slow_ms"]:
            without = ", ".join(map(clean, row["set_apart"]))
            click.echo(f"{clean(each['variant'])}: p95 without {without} {_bounded(each['p95_without_slow_ms'])} ms")
    for each in row["outliers"]:
        click.echo(f"{clean(each['text'])} To do: {clean(each['remedy'])}.")
    if not row["outliers"] and not row["because"]:
        click.echo("No device stands out.")
    click.echo()


def _parts(row: dict[str, Any]) -> list[str]:
    parts = [row["device_class"] + (" (emulated)" if row["emulated"] else ""), row["scenario"], row["grade"]]
    parts += [f"{row['threads']} threads"] if row["threads"] else []
    return parts + (["beside serving"] if row["serving_policy"] == "coexist" else [])


def _cells(each: dict[str, Any]) -> list[object]:
    spreads = {part["name"]: 100 * part["spread_ratio"] for part in each["variance"]}
    name = each["variant"] + (" (control)" if each["control"] else "")
    return [
        name, len(each["devices"]), *(_bounded(each[key]) for key in ("p50_ms", "p95_ms", "device_p50_ms")),
        _bounded(_of_ratio(each["speed_up"])), *(_percent(spreads.get(key)) for key in _SOURCES),
        _percent(100 * each["speed_up"]["spread_ratio"]) if each["speed_up"] else None,
    ]  # fmt: skip


_SOURCES = ("device", "process", "time", "query")


def _of_ratio(found: dict[str, Any] | None) -> dict[str, Any] | None:
    return found and {"value": found["ratio"], "lower": found["lower"], "upper": found["upper"]}


def _bounded(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return None
    lower, upper = ("no bound" if found[name] is None else f"{found[name]:.3g}" for name in ("lower", "upper"))
    return f"{found['value']:.3g} [{lower}, {upper}]"


def _percent(spread: float | None) -> float | None:
    return None if spread is None else (0.0 if spread < _LEAST_PERCENT else spread)
