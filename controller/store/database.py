"""The database: opening, settings, transactions, and the errors that a full or locked disk becomes.

Decides: SQLite's settings, and that a writing transaction takes the write lock at its start. Leaves out: queries (the
modules beside this one take a `Session`). Every other SQLAlchemy database works by URL; SQLite's settings are then
skipped.

    with store.begin() as session:      # one writing transaction
        audit.append(session, …)
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from controller.errors import Busy, ControllerError, DiskFull
from controller.workspace import Workspace

BUSY_TIMEOUT_MS = 15_000
_WRITES = "thresher_writes"


class Store:
    """Sessions on one database; safe to use from several threads."""

    def __init__(self, url: str, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        """Open a database by URL; SQLite waits up to `busy_timeout_ms` for another writer."""
        self.url = url
        self.engine = _engine(url, busy_timeout_ms)
        self._writes = sessionmaker(self.engine.execution_options(**{_WRITES: True}), expire_on_commit=False)
        self._reads = sessionmaker(self.engine, expire_on_commit=False)

    @classmethod
    def open(cls, workspace: Workspace) -> "Store":
        """Open the workspace's database, made or migrated to this release's schema where needed.

        Raises:
            NotFound: No workspace there.
            ConfigurationError: The database was written by a newer release.
            DiskFull: No room to create it.
        """
        from controller.store.upgrade import upgrade

        workspace.require()
        store = cls(workspace.database_url)
        with _translated(store.url):
            upgrade(store.engine.execution_options(**{_WRITES: True}))
        return store

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """Yield a session in a writing transaction: committed at the end, rolled back on an exception.

        Raises:
            DiskFull: The disk has no room; nothing of the transaction was kept.
            Busy: Another process holds the write lock for longer than the time-out.
        """
        with _translated(self.url), self._writes.begin() as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one consistent state; nothing that is changed in it is kept."""
        with _translated(self.url), self._reads() as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(url: str, busy_timeout_ms: int) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _record: _set_up_sqlite(connection, busy_timeout_ms))
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, busy_timeout_ms: int) -> None:
    # The driver's own BEGIN comes too late and is never IMMEDIATE: we send it ourselves (`_begin_sqlite`).
    connection.isolation_level = None
    for setting in (
        f"busy_timeout={busy_timeout_ms}",
        "journal_mode=WAL",
        "foreign_keys=ON",
        # FULL, not NORMAL: a decision must be on the disk before it is published, even when the power goes. It costs
        # one fsync a transaction, and the ingest thread commits in batches.
        "synchronous=FULL",
    ):
        connection.execute(f"PRAGMA {setting}")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads and then writes could otherwise fail in the middle (SQLITE_BUSY_SNAPSHOT).
    immediate = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as exc:
        raise _translate(exc, url) from exc


def _translate(exc: OperationalError, url: str) -> Exception:
    where = make_url(url).render_as_string(hide_password=True)
    code = getattr(exc.orig, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and not _has_room(url)):
        return DiskFull(f"no room left for the database {where}: free some space, then run the command again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(f"the database {where} stays locked: another process writes; try again")
    return ControllerError(f"the database {where} failed: {exc.orig}")


def _has_room(url: str) -> bool:
    import shutil

    path = make_url(url).database
    return not path or path == ":memory:" or shutil.disk_usage(Path(path).parent).free > 1024 * 1024
