"""A database of its own for each test that asks for one, and work of child processes that is done in this one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.keys import create_key
from controller.store.database import Store
from controller.workspace import Workspace
from tests.unit.controller.children import done_here


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    made.create()
    create_key(made.keys)
    return made


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without rows; to make one takes all migrations (tested in `store/test_store_migrations.py`)."""
    made = Workspace(tmp_path_factory.mktemp("empty") / "workspace")
    made.create()
    Store.open(made).close()
    return made.database_path


@pytest.fixture
def store(workspace: Workspace, empty_database: Path) -> Iterator[Store]:
    shutil.copyfile(empty_database, workspace.database_path)
    opened = Store.open(workspace)
    yield opened
    opened.close()


@pytest.fixture
def children_here() -> Iterator[None]:
    """Carry out passes, inspections, steps and runs of variants in this process: see `children.py`."""
    with done_here():
        yield
