"""A shelf of wheels for each test, and two ways to install from it in little time."""

from pathlib import Path

import pytest

from controller.convert.environments.locks import Lock
from tests.unit.controller.convert.environments.small_wheels import (
    VERSION,
    Shelf,
    make_template,
    use,
    use_no_pip,
    use_template,
)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"), Lock(Path("none"), VERSION, ""))


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    return tmp_path / "environments"


@pytest.fixture
def shelf(environments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf(tmp_path / "wheels", tmp_path / "locks")
    made.wheels.mkdir()
    made.locks.mkdir()
    use(made, environments, monkeypatch)
    return made


@pytest.fixture
def real_pip(shelf: Shelf, template: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    use_template(template, monkeypatch)


@pytest.fixture
def no_pip(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    use_no_pip(monkeypatch)
