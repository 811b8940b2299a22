"""N-2 to N: what agents of earlier releases wrote is served, what speaks an older or newer protocol is told why not.

The golden documents are add-only: those of a release stay as its agents wrote them, so reading them all is reading what
every agent in the field says.
"""

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.mqtt import Unreadable, decode_inbound
from controller.fleet.health import health_of
from controller.fleet.ingest import Ingest
from controller.fleet.samples import SampleFolder
from controller.fleet.views import device_views
from controller.keys import create_key, load_key
from controller.mqtt import Received
from controller.store.database import Store
from controller.workspace import Workspace
from wire import PROTOCOL, PROTOCOLS_BEHIND
from wire.base import encode
from wire.canonical import canonical_json, sha256_hex
from wire.presence import Presence, protocol_fault
from wire.topics import Topics

GOLDEN = Path(__file__).parent / "golden"
FROM_DEVICES = ("presence", "inventory", "reported", "event", "metrics", "sync", "claim")
TO_DEVICES = {"envelope": "desired", "ack": "ack"}


def golden(kind: str) -> list[Path]:
    return [GOLDEN / f"{kind}.json", *sorted(GOLDEN.glob(f"{kind}-*.json"))]


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


@pytest.fixture
def ingest(store: Store, workspace: Workspace) -> Ingest:
    return Ingest(store, load_key(workspace.keys), SampleFolder(workspace.samples), lambda: 1_795_500_100.0)


def topic_of(kind: str, document: dict[str, Any]) -> str:
    topics, device = Topics(document["fleet"]), document["device"]
    return topics.reported(device, document["workload"]) if kind == "reported" else str(getattr(topics, kind)(device))


@pytest.mark.parametrize("path", [path for kind in FROM_DEVICES for path in golden(kind)], ids=lambda path: path.stem)
def test_the_controller_takes_what_agents_of_every_release_write(path: Path, ingest: Ingest, store: Store) -> None:
    kind, document = path.stem.split("-")[0], json.loads(path.read_text())
    ingest.batch([Received(topic_of(kind, document), canonical_json(document), False)])
    assert ingest.counts[kind] == 1, dict(ingest.counts)
    assert not [name for name in ingest.counts if name.endswith(("malformed", "failed"))]
    if kind != "claim":  # one with a token that this controller never gave
        with store.read() as session:
            assert [view.device for view in device_views(session, document["fleet"])] == [document["device"]]


def test_the_controller_puts_records_of_every_release_together(ingest: Ingest) -> None:
    for number, path in enumerate(golden("trial_record")):
        record = json.loads(path.read_text()) | {"trial": f"t-{number}"}
        content = zlib.compress(canonical_json(record))
        part = {"trial": f"t-{number}", "part": 0, "parts": 1, "sha256": sha256_hex(content)}
        part["data"] = base64.b64encode(content).decode()
        topic = Topics(record["fleet"]).trial(record["device"], record["trial"])
        ingest.batch([Received(topic, canonical_json(part), False)])
        assert ingest.counts["trial"] == number + 1, dict(ingest.counts)


@pytest.mark.parametrize("path", [path for kind in TO_DEVICES for path in golden(kind)], ids=lambda path: path.stem)
def test_an_agent_takes_what_controllers_of_every_release_write(path: Path) -> None:
    topics = Topics("farm-sensors")
    topic = {"desired": topics.desired("barn-1", "main"), "ack": topics.ack("barn-1")}[
        TO_DEVICES[path.stem.split("-")[0]]
    ]
    inbound = decode_inbound(topic, canonical_json(json.loads(path.read_text())))
    assert inbound is not None
    assert not isinstance(inbound, Unreadable)


@pytest.mark.parametrize(
    ("protocol", "newest", "advice"),
    [
        (1, 1, None),
        (2, 1, "update the controller"),
        (1, 3, None),
        (2, 3, None),
        (3, 3, None),
        (4, 3, "update the controller"),
        (1, 4, "update the agent"),
        (2, 4, None),
    ],
)
def test_two_protocols_behind_are_served(protocol: int, newest: int, advice: str | None) -> None:
    fault = protocol_fault(protocol, newest)
    if advice is None:
        assert fault is None
    else:
        assert fault is not None
        assert advice in fault
        assert f"protocol {protocol}" in fault


@pytest.mark.parametrize("protocol", [PROTOCOL, PROTOCOL + 1, PROTOCOL + PROTOCOLS_BEHIND + 1])
def test_a_device_of_another_protocol_is_known_and_not_counted_on(protocol: int, ingest: Ingest, store: Store) -> None:
    here = Presence(fleet="farm", device="d", online=True, boot_id="b", agent_version="9", protocol=protocol)
    effects = ingest.batch([Received(Topics("farm").presence("d"), encode(here), False)])
    with store.read() as session:
        (view,) = device_views(session, "farm")
    served = protocol == PROTOCOL
    assert (view.online, bool(effects.heard), ingest.counts["presence.unserved"]) == (served, served, int(not served))
    reasons = health_of(view, 1_795_500_100.0).reasons
    assert any(f"speaks protocol {protocol}" in reason for reason in reasons) is not served
