"""`agent warm`: compile the kernels once, when the agent is installed."""

import json
from dataclasses import asdict
from pathlib import Path

import click


@click.command("warm")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="The agent's YAML file, for its cache.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Folder for compiled kernels, over the file's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_path: Path | None, cache_dir: Path | None, as_json: bool) -> None:
    """Compile the kernels now, so that no worker compiles while it serves or is timed."""
    from agent.config import load_config
    from agent.warm import warm

    if cache_dir is None and config_path is not None:
        cache_dir = load_config(config_path).kernel_cache
    report = warm(cache_dir)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
        return
    seconds = sum(report.compiled_s.values()) + report.library_s
    how = "as a linked library" if report.library else f"by numba's cache ({report.refused})"
    click.echo(
        f"{len(report.compiled_s)} kernels compiled in {seconds:.1f} s to {report.folder}; workers load them {how}"
    )
