"""What commands share: the workspace that `--workspace` names, and reading its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from controller.workspace import Workspace

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from controller.store.database import Store


def workspace() -> Workspace:
    """Return the workspace of the running command."""
    return Workspace.locate(click.get_current_context().find_root().obj)


@contextmanager
def opened() -> Iterator["Store"]:
    """Yield the workspace's database.

    Raises:
        NotFound: No workspace there.
    """
    from controller.store.database import Store

    store = Store.open(workspace())
    try:
        yield store
    finally:
        store.close()


@contextmanager
def reading() -> Iterator["Session"]:
    """Yield a session that only reads the workspace's database."""
    with opened() as store, store.read() as session:
        yield session


def log_to_file() -> None:
    """Send log records to `controller.log` of the workspace: the terminal belongs to the progress."""
    import logging

    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(filename=workspace().root / "controller.log", level=logging.INFO, format=form)


def operator() -> str:
    """Return who runs this command, as the audit names them."""
    import getpass

    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):
        return "operator:unknown"
