"""A database of its own for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.keys import create_key
from controller.store.database import Store
from controller.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    made.create()
    create_key(made.keys)
    return made


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    opened = Store.open(workspace)
    yield opened
    opened.close()
