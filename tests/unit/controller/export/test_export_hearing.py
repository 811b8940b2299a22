"""What devices tell reaches the counters once, after it was stored; `serve` checks where it is to listen."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from controller.cli.entry import cli
from controller.errors import ConfigurationError
from controller.fleet.ingest import Ingest
from controller.fleet.samples import SampleFolder
from controller.keys import create_key
from controller.mqtt import Received
from controller.workspace import Workspace
from tests.unit.controller.export.export_kit import FLEET, NOW_S, metrics, new_store
from wire.base import encode
from wire.topics import Topics


def test_an_interval_is_news_once(tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys")
    ingest = Ingest(new_store(tmp_path / "workspace"), key, SampleFolder(tmp_path / "samples"), lambda: NOW_S)
    told = metrics("a-1", 1.0, 2.0)
    message = Received(Topics(FLEET).metrics("a-1"), encode(told), False)
    assert ingest.batch([message, message]).metrics == [told]
    assert ingest.batch([message]).metrics == []


@pytest.fixture
def site(tmp_path: Path) -> tuple[Workspace, Path]:
    workspace = Workspace(tmp_path / "workspace")
    workspace.create()
    goals = {"max_accuracy_drop_ratio": 0.03}
    document: dict[str, Any] = {"version": 1, "fleet": FLEET, "workloads": {"main": {"model": "a@1", "goals": goals}}}
    file = tmp_path / "farm.yaml"
    file.write_text(yaml.safe_dump(document))
    return workspace, file


@pytest.mark.parametrize(("http", "refused"), [("off", False), ("127.0.0.1:0", False), ("everywhere", True)])
def test_serve_checks_where_it_is_to_listen(site: tuple[Workspace, Path], http: str, refused: bool) -> None:
    workspace, file = site
    arguments = ["--workspace", str(workspace.root), "serve", "--fleet", FLEET, "--config", str(file), "--dry-run"]
    ended = CliRunner().invoke(cli, [*arguments, "--http", http])
    assert isinstance(ended.exception, ConfigurationError) == refused
    assert ("would serve" in ended.output) != refused
