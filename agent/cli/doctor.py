"""`agent doctor`: what is missing on this device, and what to do about it."""

import json
from pathlib import Path

import click

_SIGNS = {"ok": "ok     ", "warning": "warning", "missing": "MISSING"}


@click.command("doctor")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="The agent's YAML file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_path: Path | None, as_json: bool) -> None:
    """Check engines, memory cap, pressure, disk, clock, Python and the kernel cache.

    Exit code 1 where something is missing without which the agent cannot work.
    """
    from agent.config import load_config
    from agent.device.checkup import check_up

    findings = check_up(load_config(config_path) if config_path is not None else None)
    is_well = all(finding.verdict != "missing" for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": is_well, "findings": [each.as_document() for each in findings]}, indent=2))
    else:
        for each in findings:
            click.echo(
                f"{_SIGNS[each.verdict]}  {each.name}: {each.found}" + (f"; {each.remedy}" if each.remedy else "")
            )
    raise click.exceptions.Exit(0 if is_well else 1)
