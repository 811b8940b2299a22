"""`controller trial export`: trials, or their samples, for other programs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.output import bytes_text, json_option, print_json
from controller.cli.session import reading

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from controller.fleet.views import TrialView

_SUFFIXES = {".parquet": "parquet", ".csv": "csv"}


@click.command()
@click.option("--deployment", help="Only this deployment's trials; else those of the newest one.")
@click.option("--trial", "named", multiple=True, metavar="TRIAL", help="Only this trial; may be given several times.")
@click.option("--format", "form", type=click.Choice(["parquet", "csv"]), help="Else what the file's name ends in.")
@click.option("--out", "path", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--samples", is_flag=True, help="One row per sample, instead of one per trial.")
@click.option("--force", is_flag=True, help="Overwrite the file where it is there.")
@json_option
def export(
    deployment: str | None,
    named: tuple[str, ...],
    form: str | None,
    path: Path,
    samples: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write trials, or their samples, to Parquet or CSV; every column has its unit in its name.

    One row per trial holds what was asked, latency with bounds, phases, memory, energy, validity, flags and every
    condition. Parquet needs the extra `export`: pip install 'thresher[export]'.
    """
    from controller.trial.export import export_samples, export_trials
    from controller.trial.table_file import refuse_existing

    if deployment and named:
        raise click.UsageError("--deployment and --trial exclude each other")
    kind = form or _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise click.UsageError(f"{path} ends neither in .parquet nor in .csv: say --format")
    refuse_existing(path, force)
    write = export_samples if samples else export_trials
    with reading() as session:
        names = list(dict.fromkeys(named)) or _of_deployment(session, deployment)
        with _views(session, names) as views:
            done = write(views, path, "csv" if kind == "csv" else "parquet")
    if as_json:
        print_json({"path": str(path), "rows": done.rows, "columns": done.columns, "bytes": done.size_bytes})
        return
    click.echo(f"{done.rows} rows of {done.columns} columns in {path} ({bytes_text(done.size_bytes)})")


def _of_deployment(session: "Session", deployment: str | None) -> list[str]:
    from controller.errors import NotFound
    from controller.report.build import latest_id
    from controller.store import deployments, trials

    chosen = deployment or latest_id(session)
    deployments.get(session, chosen)
    found = list(trials.names_of_deployment(session, chosen))
    if not found:
        raise NotFound(f"deployment {chosen} has no trials: see `controller trial list`")
    return found


@contextmanager
def _views(session: "Session", names: Sequence[str]) -> "Iterator[Iterator[TrialView]]":
    """Give the trials one after the other, with a bar on stderr where there is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield (_view(session, name) for name in names)
        return
    with click.progressbar(names, label="trials", file=sys.stderr) as bar:
        yield (_view(session, name) for name in bar)


def _view(session: "Session", name: str) -> "TrialView":
    from controller.errors import NotFound
    from controller.fleet.views import trial_view
    from controller.store import trials

    row = trials.get(session, name)
    if row is None:
        raise NotFound(f"no trial {name!r} in this workspace: see `controller trial list`")
    view = trial_view(row)
    session.expunge(row)  # its record is decoded: kept rows would hold all records of a deployment in memory
    return view
