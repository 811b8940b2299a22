"""`agent warm`: compile the kernels once, and see what engines can do, when the agent is installed."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

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

    Engines are looked at as well, each in a process of its own: what they can use here, and what they need once.

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
    engines = _engines(cache_dir, force)
    if as_json:
        click.echo(json.dumps({**asdict(report), "compiled_now": before is None, "engines": engines}, indent=2))
        return
    how = FORMS[report.form] + (f" ({report.refused})" if report.refused else "")
    seconds = sum(report.compiled_s.values()) + report.kept_s
    done = f"compiled in {seconds:.1f} s to" if before is None else "are warm in"
    click.echo(f"{report.cache_hits} kernels {done} {report.folder}; workers load them {how}")
    for name, found in engines.items():
        click.echo(f"{name}: {_said(found)}")


def _engines(cache_dir: Path | None, force: bool) -> dict[str, Any]:
    from agent.inference.limits import base_folder
    from agent.inventory import PROBED_NAME, find_engines, look_at_engines

    folder = base_folder(cache_dir)
    if force:
        (folder / PROBED_NAME).unlink(missing_ok=True)
    return look_at_engines(find_engines(None), folder)


def _said(found: Mapping[str, Any]) -> str:
    if "error" in found:
        return f"cannot be used: {found['error']}"
    vain = "".join(f"; {name} cannot be used: {reason}" for name, reason in found["unusable"].items())
    return f"can use {', '.join(found['providers'])}{vain}"
