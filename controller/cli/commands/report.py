"""`controller report ID|latest`: what a deploy did."""

from typing import Any

import click

from controller.cli.output import bytes_text, clean, print_table, time_text
from controller.cli.session import opened, workspace


@click.command()
@click.argument("deployment", default="latest")
@click.option("--fleet", help="With `latest`: only this fleet's deployments.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@click.option("--html", "as_html", is_flag=True, help="Write the report's files again and print the path of the page.")
def report(deployment: str, fleet: str | None, as_json: bool, as_html: bool) -> None:
    """Show what the deploy DEPLOYMENT (an id, or `latest`) made, measured, chose and rolled out."""
    import json

    from controller.report.build import latest_id
    from controller.report.write import read_report, write_report

    with opened() as store:
        if deployment == "latest":
            with store.read() as session:
                deployment = latest_id(session, fleet)
        if as_html:
            click.echo(write_report(store, workspace(), deployment).html)
            return
        document = read_report(store, deployment)
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        print_summary(document)


def print_summary(document: dict[str, Any]) -> None:
    """Print the choice of each class, the waves, and what runs."""
    about = document["deployment"]
    model = f"{about['model']}@{about['model_version']}"
    click.echo(f"{about['fleet']}/{about['workload']}  {model}  {about['id']}  {about['stage']}")
    if about["error"]:
        click.echo(f"  {about['error'].get('reason')}: {about['error'].get('detail')}")
    print_choices(document)
    for choice in document["choices"]:
        click.echo(clean(f"{choice['device_class']}: {choice['because']}"))
    for row in document["fleetwide"]:
        for each in row["outliers"]:
            click.echo(clean(f"{row['device_class']}: {each['text']} To do: {each['remedy']}."))
    rows = [(wave["number"] + 1, each) for wave in document["waves"] for each in wave["devices"]]
    print_table(
        ("wave", "device", "class", "outcome", "offered", "ended"),
        [
            [
                number,
                *(each[name] for name in ("device", "device_class", "outcome")),
                *(time_text(each[name]) for name in ("offered_s", "ended_s")),
            ]
            for number, each in rows
        ],
        title="rollout",
    )
    names = ("device", "device_class", "online", "state", "variant", "as_chosen")
    print_table(
        ("device", "class", "online", "state", "variant", "as chosen", "running digest"),
        [[*(row[name] for name in names), (row["active"] or "-")[:12]] for row in document["attested"]],
        title="attested",
    )


def print_choices(document: dict[str, Any]) -> None:
    """Print, for each class, the chosen variant with what it gains over the baseline."""
    rates = any(_won(choice).get("queries_per_second") is not None for choice in document["choices"])
    speed = "queries/s" if rates else "p50 [ms]"
    columns = ("class", "chosen variant", "speed-up [95 %]", speed, "score", "download", "peak memory")
    scenarios = {row.get("scenario", "single_stream") for each in document["choices"] for row in each["measured"]}
    title = f"choices, scenario {', '.join(sorted(scenarios))}" if scenarios - {"single_stream"} else "choices"
    print_table(columns, [_choice_cells(choice, rates) for choice in document["choices"]], title=title)


def _won(choice: dict[str, Any]) -> dict[str, Any]:
    return next((row for row in choice["measured"] if row["variant"] == choice["variant"]), {})


def _choice_cells(choice: dict[str, Any], rates: bool) -> list[object]:
    won = _won(choice)
    gain = won.get("speed_up") or {}
    known = gain.get("lower") is not None and gain.get("upper") is not None
    speed = f"{gain['ratio']:.2f} [{gain['lower']:.2f}, {gain['upper']:.2f}]" if known else None
    sizes = [bytes_text(won.get(name)) for name in ("wire_bytes", "peak_memory_bytes")]
    named = f"{choice['device_class']}{' (emulated)' if choice.get('emulated') else ''}"
    number = won.get("queries_per_second" if rates else "p50_ms")
    return [named, choice["variant"], speed, number, won.get("score"), *sizes]
