"""`agent run`: the control process."""

import logging
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
    from agent.inventory import find_engines, look_at_engines

    log_to_stderr(verbose)
    config = load_config(config_path)
    _warm(config.kernel_cache)
    # Now, so that a worker which is started before the first connection finds what an engine has to have made once.
    look_at_engines(find_engines(config.engines_allowed), config.kernel_cache)
    Daemon(config).run()


def _warm(cache_dir: Path) -> None:
    """Compile the kernels where nobody has: workers may not write there, and a compiler counts against their cap."""
    from agent.errors import EngineFailed
    from agent.warm import ensure_warm

    try:
        ensure_warm(cache_dir)
    except EngineFailed as exc:
        logging.getLogger(__name__).warning("kernels are not compiled, workers will be larger and slower: %s", exc)
