"""`agent enrol`: claim this device's name with a token."""

import json
import sys
from pathlib import Path

import click


@click.command("enrol")
@click.option("--claim", required=True, metavar="TOKEN", help="Line that `controller fleet enrol` printed; - reads it.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), required=True, help="The agent's YAML file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(claim: str, config_path: Path, as_json: bool) -> None:
    """Make this device's key and its claim; the agent says it as soon as it is connected.

    Works while the agent runs and when it does not. `agent doctor` tells whether the controller has accepted it.
    """
    from agent.config import load_config
    from agent.install.claim import check_token, make_claim, read_token

    config = load_config(config_path)
    token = read_token(sys.stdin.read() if claim == "-" else claim)
    check_token(token, config.fleet, config.device)
    made = make_claim(config.state_dir, token, config.device)
    found = {"fleet": made.fleet, "device": made.device, "claim": made.claim, "public_key": made.public_key}
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(f"claim {made.claim} for {made.fleet}/{made.device} is said as soon as the agent is connected")
