"""`agent warm`: compile the kernels once, when the agent is installed."""

import json
from dataclasses import asdict
from pathlib import Path

import click

FORMS = {
    "library": "as a linked library",
    "llvmlite": "as an object, through llvmlite",
    "numba": "through numba and its cache",
}


@click.command("warm")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="The agent's YAML file, for its cache.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Folder for compiled kernels, over the file's.")
@click.option("--force", is_flag=True, help="Compile although all of it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_path: Path | None, cache_dir: Path | None, force: bool, as_json: bool) -> None:
    """Compile the kernels now, so that no worker compiles while it serves or is timed.

    Where this release has done so on this processor, only a look is taken; a unit may call it before each start.
    """
    from agent.inference.limits import kernel_folder
    from agent.warm import ensure_warm, read_report

    if cache_dir is None and config_path is not None:
        from agent.config import load_config

        cache_dir = load_config(config_path).kernel_cache
    before = None if force else read_report(kernel_folder(cache_dir))
    report = before or read_report(ensure_warm(cache_dir, force=force))
    if report is None:
        from agent.errors import EngineFailed

        raise EngineFailed("the kernels changed while they were looked at: run `agent warm` again")
    if as_json:
        click.echo(json.dumps({**asdict(report), "compiled_now": before is None}, indent=2))
        return
    how = FORMS[report.form] + (f" ({report.refused})" if report.refused else "")
    seconds = sum(report.compiled_s.values()) + report.kept_s
    done = f"compiled in {seconds:.1f} s to" if before is None else "are warm in"
    click.echo(f"{report.cache_hits} kernels {done} {report.folder}; workers load them {how}")
