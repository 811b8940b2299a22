"""`agent bench BUNDLE`: measure one bundle here, without a controller."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("bench")
@click.argument("bundle", type=_FOLDER)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="The agent's YAML file: threads, cap, lock."
)
@click.option(
    "--grade",
    type=click.Choice(["quick", "normal", "ranking"]),
    default="normal",
    show_default=True,
    help="How long to measure.",
)
@click.option("--threads", type=click.IntRange(1, 256), help="Engine threads, over the file's.")
@click.option("--evaluation", type=_FOLDER, help="Folder of an evaluation set to answer as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as one JSON object.")
def command(
    bundle: Path, config_path: Path | None, grade: str, threads: int | None, evaluation: Path | None, as_json: bool
) -> None:
    """Measure the bundle in the folder BUNDLE on this device: latency, memory, golden outputs.

    Exit code 5 where the bundle cannot be measured.
    """
    from agent.bench import bench, table
    from agent.errors import EngineFailed

    options = _options(config_path, {"grade": grade, "evaluation": evaluation}, threads)
    record = bench(bundle, options)
    click.echo(record.model_dump_json(indent=2) if as_json else table(record))
    if record.outcome != "measured":
        raise EngineFailed(f"{bundle} was not measured ({record.outcome}): {record.error}")


def _options(config_path: Path | None, chosen: Mapping[str, Any], threads: int | None) -> Any:
    from agent.bench import BenchOptions
    from agent.config import load_config

    if config_path is None:
        return BenchOptions(**chosen, threads=threads or 1)
    config = load_config(config_path)
    return BenchOptions(
        **chosen,
        threads=threads or config.threads,
        memory_cap_bytes=config.memory_cap_bytes,
        cache_dir=config.kernel_cache,
        lock_path=config.host_lock,
    )
