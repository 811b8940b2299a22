"""Asking for a deploy: new, resumed, replaced, refused; and what a failure of another process looks like here."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller import errors
from controller.deploy import request as module
from controller.deploy.carry import Carried
from controller.deploy.request import new_id, request_deploy
from controller.deploy.settings import DeploySettings
from controller.store import deployments
from controller.store.database import Store
from controller.workspace import Workspace
from wire.topics import Topics


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(module, "settings_of", lambda document: document)
    workspace = Workspace(tmp_path / "ws")
    workspace.create()
    opened = Store.open(workspace)
    yield opened
    opened.close()


def wanted(digest: str = "one", workload: str = "main") -> DeploySettings:
    plain: Any = SimpleNamespace(
        fleet="yard",
        workload_name=workload,
        digest=digest,
        document=dict,
        model=SimpleNamespace(name="tiny", version="1"),
    )
    return cast(DeploySettings, plain)


def stage_of(store: Store, deployment: str) -> str:
    with store.read() as session:
        return deployments.get(session, deployment).stage


def test_a_new_one_is_requested(store: Store) -> None:
    found = request_deploy(store, wanted(), 100.0)
    assert (found.resumed, stage_of(store, found.deployment)) == (False, "requested")


def test_the_same_settings_go_on_where_a_dead_process_stopped(store: Store) -> None:
    first = request_deploy(store, wanted(), 100.0)
    second = request_deploy(store, wanted(), 200.0)
    assert (second.deployment, second.resumed) == (first.deployment, True)


def test_other_settings_replace_what_a_dead_process_left(store: Store) -> None:
    first = request_deploy(store, wanted("one"), 100.0)
    second = request_deploy(store, wanted("two"), 200.0)
    assert (stage_of(store, first.deployment), second.resumed) == ("canceled", False)


def test_a_living_process_makes_it_busy(store: Store) -> None:
    first = request_deploy(store, wanted(), 100.0)
    with store.begin() as session:
        deployments.claim(session, first.deployment, "other", now_s=100.0)
    with pytest.raises(errors.Busy, match=first.deployment):
        request_deploy(store, wanted(), 101.0)
    assert request_deploy(store, wanted(), 100.0 + deployments.LEASE_S + 1).resumed


@pytest.mark.parametrize("before", [False, True])
def test_a_retry_carries_a_nonce_and_nothing_else_does(store: Store, before: bool) -> None:
    if before:
        request_deploy(store, wanted(), 50.0)
    found = request_deploy(store, wanted(), 100.0, retry=True)
    plain = request_deploy(store, wanted(workload="soil"), 100.0)
    with store.read() as session:
        nonces = [deployments.get(session, each.deployment).settings["retry_nonce"] for each in (found, plain)]
    assert nonces == [found.deployment, ""]


def test_another_workload_is_not_busy(store: Store) -> None:
    first = request_deploy(store, wanted(), 100.0)
    with store.begin() as session:
        deployments.claim(session, first.deployment, "other", now_s=100.0)
    assert not request_deploy(store, wanted(workload="soil"), 101.0).resumed


def test_ids_sort_by_time_and_can_stand_in_a_topic() -> None:
    early, late = new_id(1_000_000_000.0), new_id(1_000_000_100.0)
    assert early < late
    assert early in Topics("yard").trial("barn-1", early)


@pytest.mark.parametrize(
    ("reason", "code"), [("no_feasible_variant", 8), ("no_device", 7), ("rollout_failed", 10), ("canceled", 1)]
)
def test_what_another_process_wrote_keeps_its_exit_code(reason: str, code: int) -> None:
    failure = Carried(reason, "text")
    assert (failure.reason, failure.exit_code, str(failure)) == (reason, code, "text")
