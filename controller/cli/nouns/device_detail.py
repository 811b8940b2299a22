"""What `controller fleet show FLEET --device DEVICE` prints: all numbers of a device's newest metrics."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from controller.cli.output import bytes_text, print_table, shown, time_text

_TIMES = {
    "total_ms": "total (arrival to answer)",
    "wait_ms": "waiting",
    "latency_ms": "worker",
    "pre_ms": "  pre-processing",
    "infer_ms": "  inference",
    "post_ms": "  post-processing",
}
_DISTRIBUTION = ("count", "missing", "mean", "smallest", "p05", "p50", "p95", "largest")


def print_device(row: Mapping[str, Any]) -> None:
    """Print a device of `controller.report.fleet.device_rows`, with `fetched_rows` under `fetched`."""
    temperature = row["temperature_celsius"]
    heat = "-" if temperature is None else f"{temperature:.0f} °C"
    throttled = {True: ", throttled", False: "", None: ""}[row["throttled"]]
    click.echo(
        f"{row['device']}: {'online' if row['online'] else 'offline'}, {heat}{throttled}, "
        f"free {bytes_text(row['memory_available_bytes']) or '-'}, agent {bytes_text(row['agent_pss_bytes']) or '-'}; "
        f"metrics of {time_text(row['metrics_s']) or 'never'}"
    )
    for workload in row["workloads"]:
        _print_workload(workload)
    if row["fetched"]:
        print_table(("fetched", "from the network", "was here", "at"), [_fetched(each) for each in row["fetched"]])


def _fetched(row: Mapping[str, Any]) -> list[object]:
    sizes = [bytes_text(row["received_bytes"]), bytes_text(row["reused_bytes"])]
    return [row["variant"] or row["artifact"][:12], *sizes, time_text(row["received_s"])]


def _print_workload(row: Mapping[str, Any]) -> None:
    numbers = row["metrics"]
    title = f"\n{row['workload']}: {row['state']}, {row['variant'] or (row['active'] or 'nothing')[:12]}"
    click.echo(title)
    if numbers is None:
        click.echo("  no metrics of it yet")
        return
    for name, text in _facts(numbers):
        click.echo(f"  {name}: {text}")
    times = [[label, *numbers["times"][name].values()] for name, label in _TIMES.items()]
    print_table(("time", "p50 [ms]", "p95 [ms]", "p99 [ms]"), times)
    distributions = {"predicted value": numbers["values"], **_named(numbers["inputs"])}
    rows = [[name, *(each[key] for key in _DISTRIBUTION)] for name, each in distributions.items() if each]
    if rows:
        print_table(("", *_DISTRIBUTION), rows)


def _facts(numbers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "queries", f"{numbers['queries']}, errors {_counted(numbers['errors'], numbers['errors_by_reason'])}"
    yield "lost before a worker", _counted(numbers["lost"], numbers["lost_by_reason"])
    if numbers["sinks_by_reason"]:
        yield "sinks", ", ".join(f"{shown(name)} {count}" for name, count in numbers["sinks_by_reason"].items())
    yield "queue", f"{numbers['queue_depth']} at most, {numbers['held']} held during a switch"
    ratio = numbers["deadline_miss_ratio"]
    if ratio is not None:
        yield "deadlines missed", f"{ratio:.1%} ({numbers['deadline_misses']} of {numbers['deadlines']})"
    sizes = {"worker": "worker_pss_bytes", "resident": "worker_rss_bytes", "gateway": "gateway_pss_bytes"}
    yield "memory", ", ".join(f"{name} {bytes_text(numbers[key]) or '-'}" for name, key in sizes.items())
    if numbers["predictions"]:
        yield "predictions", ", ".join(f"{shown(name)} {count}" for name, count in numbers["predictions"].items())
    if numbers["confidence"]:
        yield "confidence", f"{numbers['confidence']['mean']:.2f} in the mean; {numbers['confidence']['counts']}"
    if numbers["reduced"]:
        yield "resolution", f"reduced by {numbers['reduced']} steps so that the message fits"


def _counted(count: int, reasons: Mapping[str, int]) -> str:
    told = ", ".join(f"{shown(name)} {times}" for name, times in reasons.items())
    return f"{count} ({told})" if told else f"{count}"


def _named(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {f"input {shown(name)}": each for name, each in inputs.items()}
