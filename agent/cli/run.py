"""`agent run`: the control process."""

from pathlib import Path

import click

from agent.cli import log_to_stderr


@click.command("run")
@click.option("--config", "config_path", type=click.Path(path_type=Path), required=True, help="The agent's YAML file.")
@click.option("--verbose", is_flag=True, help="Log details too.")
def command(config_path: Path, verbose: bool) -> None:
    """Run the agent until SIGTERM or Ctrl-C.

    Serving goes on while no broker answers.
    """
    from agent.config import load_config
    from agent.daemon import Daemon

    log_to_stderr(verbose)
    Daemon(load_config(config_path)).run()
