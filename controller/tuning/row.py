"""A search's place among deployments, to which its trials belong.

Decides: that it is none that a leader carries out or that keeps a deploy waiting (`active_key` stays null), and that it
goes under a workload's name of its own, so that no deploy takes it for the last one. Leaves out: its trials.
"""

from collections.abc import Sequence

from controller.deploy.settings import DeploySettings
from controller.store import deployments, tables, trials
from controller.store.database import Store
from wire.canonical import sha256_hex

SEARCHING = "searching"


def search_id(folder: str) -> str:
    """Return the name of a search's row, from the name of its folder: the same search has the same row."""
    return f"search-{sha256_hex(folder.encode())[:12]}"


def open_row(store: Store, name: str, settings: DeploySettings, now_s: float) -> None:
    """Write a search's row, unless it is there, and say that it goes on."""
    with store.begin() as session:
        row = session.get(tables.Deployment, name)
        if row is None:
            row = tables.Deployment(
                id=name,
                fleet=settings.fleet,
                workload=f"{settings.workload_name}.search",
                model=settings.model.name,
                model_version=settings.model.version,
                settings={**settings.document(), "digest": settings.digest},
                created_s=now_s,
            )
            session.add(row)
        row.stage, row.updated_s, row.finished_s = SEARCHING, now_s, None


def close_row(store: Store, name: str, now_s: float) -> None:
    """Say that a search has come to its end."""
    with store.begin() as session:
        deployments.set_stage(session, name, "completed", now_s=now_s)


def rows_of(store: Store, name: str) -> Sequence[tables.Trial]:
    """Return a search's trials."""
    with store.read() as session:
        return trials.of_deployment(session, name)
