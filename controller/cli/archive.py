"""A workspace as one archive, and back.

Decides: what is kept (database, keys, models, artifacts, data sets, fleet files, reports; not the cache, which is made
again) and that a restore loses nothing: the workspace in its place is moved aside. Leaves out: what the controller does
with an old database over a newer fleet (it rises above what the fleet has seen; `controller/service`).
"""

import gzip
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from controller.bundle.atomic import disk_full, means_no_room
from controller.errors import Busy, ConfigurationError, NotFound
from controller.fleet.ahead import end_all
from controller.leadership import current_leader
from controller.store import audit
from controller.store.database import Store
from controller.workspace import DATABASE_VARIABLE, Workspace

FORMAT = 1
FACTS = "backup.json"
_DATABASE = "thresher.db"
_LARGEST_FACTS_BYTES = 65_536
_FOLDERS = ("keys", "models", "artifacts", "datasets", "fleets", "reports", "samples")


def back_up(workspace: Workspace, path: Path) -> dict[str, Any]:
    """Write the workspace to `path` (gzip tar, readable by its owner only: it holds the key) and return its facts.

    The database is copied while it may be in use, at one consistent moment.

    Raises:
        NotFound: No workspace there.
        ConfigurationError: `path` is there already, or the database is not an SQLite file.
    """
    workspace.require()
    if DATABASE_VARIABLE in os.environ:
        raise ConfigurationError(
            f"{DATABASE_VARIABLE} names a database server: back it up with that server's own tools"
        )
    if path.exists():
        raise ConfigurationError(f"{path} is there already: name another file")
    store = Store.open(workspace)
    with store.read() as session:
        facts = {"format": FORMAT, "made_s": time.time(), "audit_head": audit.head(session)}
    store.close()
    partial = path.with_name(f".{path.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            _write(stream, workspace, facts)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return {**facts, "path": str(path), "bytes": path.stat().st_size}


def restore(workspace: Workspace, path: Path, *, replace: bool) -> Path | None:
    """Put the workspace back from `path`; return where the former one was moved, if there was one.

    Raises:
        NotFound: No such archive.
        ConfigurationError: Not a backup, a damaged one, or a workspace is in its place and `replace` is not set.
        DiskFull: No room to unpack it.
        Busy: A process leads the workspace that would be replaced.
    """
    read_facts(path)
    if workspace.exists and not replace:
        raise ConfigurationError(
            f"{workspace.root} is a workspace: --replace moves it aside and puts the backup in its place"
        )
    if workspace.exists:
        _refuse_if_led(workspace)
    parent = workspace.root.parent
    parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".restore-", dir=parent))
    try:
        _unpack(path, fresh)
        former = _swap(workspace, fresh)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # of a failed restore: it may hold the signing key
    workspace.create()
    _end_what_went_on(workspace)
    return former


def _unpack(path: Path, folder: Path) -> None:
    """Unpack all of the archive.

    Raises:
        DiskFull: No room.
        ConfigurationError: It is damaged, or a member would land outside the folder.
    """
    try:
        with gzip.open(path) as stream:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                archive.extractall(folder, filter="data")
            while stream.read(1 << 20):  # to the end: there the checksum is compared
                pass
        (folder / FACTS).unlink()
        _check_database(folder / _DATABASE)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, sqlite3.Error) as exc:
        if isinstance(exc, OSError) and means_no_room(exc):
            raise disk_full(folder.parent) from exc
        raise ConfigurationError(
            f"{path} is damaged, or not made by `controller backup`: {exc}; nothing was changed, use another backup"
        ) from exc


def _check_database(path: Path) -> None:
    """Refuse a database that is not there or not whole, before anything is put in its place."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise ValueError(f"its database is not whole: {found}")


def _swap(workspace: Workspace, fresh: Path) -> Path | None:
    """Move the workspace in place aside, if there is one, and the fresh one in its place."""
    former = None
    if workspace.root.exists():
        former = workspace.root.parent / f"{workspace.root.name}.before-{time.strftime('%Y%m%d-%H%M%S')}"
        os.replace(workspace.root, former)
    os.replace(fresh, workspace.root)
    return former


def read_facts(path: Path) -> dict[str, Any]:
    """Return what a backup says of itself.

    Raises:
        NotFound: No such file.
        ConfigurationError: It is not a backup of this release's format.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            member = archive.extractfile(FACTS)
            facts = json.loads(member.read(_LARGEST_FACTS_BYTES)) if member else {}
    except FileNotFoundError as exc:
        raise NotFound(f"{path}: no such backup") from exc
    except (tarfile.TarError, KeyError, ValueError, EOFError, OSError, zlib.error) as exc:
        raise ConfigurationError(f"{path} is not a backup made by `controller backup`: {exc}") from exc
    if not isinstance(facts, dict) or not isinstance(facts.get("made_s"), int | float):
        raise ConfigurationError(f"{path} is not a backup made by `controller backup`: its {FACTS} does not say when")
    if facts.get("format") != FORMAT:
        raise ConfigurationError(f"{path} has format {facts.get('format')}, this release reads {FORMAT}")
    return facts


def _write(stream: io.BufferedWriter, workspace: Workspace, facts: dict[str, Any]) -> None:
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as archive:
        content = json.dumps(facts).encode()
        entry = tarfile.TarInfo(FACTS)
        entry.size, entry.mtime = len(content), int(facts["made_s"])
        archive.addfile(entry, io.BytesIO(content))
        with tempfile.TemporaryDirectory(dir=workspace.root) as folder:
            copy = Path(folder) / _DATABASE
            with closing(sqlite3.connect(workspace.database_path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            archive.add(copy, _DATABASE)
        for name in (*_FOLDERS, workspace.trusted_keys.name):
            if (workspace.root / name).exists():
                archive.add(workspace.root / name, name)


def _end_what_went_on(workspace: Workspace) -> None:
    """A rollout of the backup's day is not carried on over what the fleet has become since."""
    store = Store.open(workspace)
    with store.begin() as session:
        end_all(session, "a backup was restored", now_s=time.time())
    store.close()


def _refuse_if_led(workspace: Workspace) -> None:
    store = Store.open(workspace)
    leader = current_leader(store, time.time())
    store.close()
    if leader is not None:
        raise Busy(f"{workspace.root} is led by {leader}: stop that process before a restore")
