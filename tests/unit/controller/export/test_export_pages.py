"""The pages over HTTP: who is answered, what health says, and that a taken port keeps no fleet from being served."""

import http.client
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Busy, ConfigurationError
from controller.export.health import Health
from controller.export.server import Address, Page, PageServer, json_page, read_address
from tests.unit.controller.export.export_kit import StillService, lead, new_store

LOCAL = Address("127.0.0.1", 0)


def get(server: PageServer, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_a_page_is_answered_and_others_are_named() -> None:
    with PageServer(LOCAL, {"/metrics": lambda: Page(200, "text/plain", b"one 1\n")}) as server:
        status, headers, body = get(server, "/metrics?x=1")
        assert (status, body) == (200, b"one 1\n")
        assert headers["Cache-Control"] == "no-store"
        status, _, body = get(server, "/else")
        assert (status, json.loads(body)["detail"]) == (404, "there are /metrics")


def test_a_web_page_under_another_name_gets_nothing() -> None:
    with PageServer(LOCAL, {"/metrics": lambda: json_page({"a": 1})}) as server:
        assert get(server, "/metrics", Host="evil.example")[0] == 403
        assert get(server, "/metrics", Host=f"localhost:{server.address.port}")[0] == 200
        assert get(server, "/metrics", Host="[::1]:9")[0] == 200


def test_a_page_that_fails_says_so_without_details(caplog: pytest.LogCaptureFixture) -> None:
    def failing() -> Page:
        raise ValueError("secret")

    with PageServer(LOCAL, {"/metrics": failing}) as server, caplog.at_level(logging.CRITICAL):
        status, _, body = get(server, "/metrics")
    assert status == 500
    assert b"secret" not in body


def test_only_get_is_understood() -> None:
    with PageServer(LOCAL, {"/metrics": lambda: json_page({})}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=10)
        connection.request("POST", "/metrics", body=b"x")
        assert connection.getresponse().status == 501
        connection.close()


def test_a_port_that_is_taken_is_named() -> None:
    with PageServer(LOCAL, {}) as server, pytest.raises(Busy, match=f"--http 127.0.0.1:{server.address.port}"):
        PageServer(server.address, {})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9469", Address("127.0.0.1", 9469)),
        ("[::1]:80", Address("::1", 80)),
        ("0.0.0.0:1", Address("0.0.0.0", 1)),
        ("off", None),
    ],
)
def test_an_address_is_read(text: str, address: Address | None) -> None:
    assert read_address(text) == address
    assert address is None or address.is_loopback == (address.host != "0.0.0.0")


@pytest.mark.parametrize("text", ["", "9469", ":1", "host:", "host:70000", "host:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        read_address(text)


def checks(found: list[Any]) -> dict[str, bool]:
    return {check.name: check.good for check in found}


def test_ready_needs_broker_database_and_lead(tmp_path: Path) -> None:
    store, service, now_s = new_store(tmp_path), StillService(), [0.0]
    health = Health(service, store, lambda: now_s[0])
    assert checks(health.ready()) == {"broker": True, "database": True, "leadership": False, "engine": True}
    lead(store, service.owner)
    service.connected = False
    assert checks(health.ready()) == {"broker": False, "database": True, "leadership": True, "engine": True}


def test_a_database_that_another_process_holds_is_not_writable(tmp_path: Path) -> None:
    from controller.store.database import Store

    store = new_store(tmp_path)
    hasty = Health(StillService(), Store(store.url, 50))
    with store.begin() as session:
        session.connection()
        found = hasty.writable()
    assert not found.good
    assert found.detail.startswith("busy: ")
    assert hasty.writable().good


def test_a_thread_that_stands_still_is_not_alive(tmp_path: Path) -> None:
    service, now_s = StillService(), [0.0]
    health = Health(service, new_store(tmp_path), lambda: now_s[0])
    for _ in range(5):
        service.turns += 1
        now_s[0] += 50.0
        assert checks(health.alive()) == {"engine": True}
    now_s[0] += 61.0
    assert checks(health.alive()) == {"engine": False}
