"""`fleet raw` through a process that leads: asks, waits, prints; a refusal has its exit code."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.cli.entry import run
from controller.leadership import Leadership
from controller.store import tables
from controller.store.database import Store
from controller.telemetry import raw_rows
from tests.unit.controller.report.store_rows import filled_store
from wire.raw import RawPart, pack_records

RECORDS = [
    {"at_ms": 1_795_500_001_000, "total_ms": 5.25, "wait_ms": 3.1, "infer_ms": 2.0, "label": "ash", "confidence": 0.9},
    {"at_ms": 1_795_500_002_000, "total_ms": 0.0, "wait_ms": 9.0, "reason": "query_timeout"},
]
ASKED = ("fleet", "raw", "yard", "barn-1", "--workload", "main", "--seconds", "20")
Answer = Callable[[tables.RawRequest], list[RawPart]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A filled workspace that some process leads."""
    opened = filled_store(tmp_path / "ws")
    leadership = Leadership(opened, time.time)
    leadership.take()
    yield opened
    opened.close()


def part(asked: tables.RawRequest, number: int, **fields: object) -> RawPart:
    names = {"fleet": asked.fleet, "device": asked.device, "workload": asked.workload, "request": asked.id}
    return RawPart.model_validate({**names, "part": number, "records": 0, **fields})


def answered(store: Store, answer: Answer, arguments: tuple[str, ...], tmp_path: Path) -> int:
    """Run the command, with a leader beside it that puts a device's answer into the database."""

    def lead() -> None:
        for _ in range(400):
            with store.begin() as session:
                asked = session.query(tables.RawRequest).one_or_none()
                if asked is not None:
                    for told in answer(asked):
                        raw_rows.add_part(session, told, now_s=time.time())
                    return
            time.sleep(0.02)

    leader = threading.Thread(target=lead)
    leader.start()
    code = run(["--workspace", str(tmp_path / "ws"), *arguments])
    leader.join()
    return code


def told(asked: tables.RawRequest) -> list[RawPart]:
    return [
        part(asked, 0, records=2, data=pack_records(RECORDS)),
        part(asked, 1, last=True, reason="over"),
    ]


def test_records_are_printed_as_json(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(store, told, (*ASKED, "--json"), tmp_path) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["records"], document["ended"], document["workload"]) == (RECORDS, "over", "main")


def test_records_are_printed_as_a_table(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(store, told, ASKED, tmp_path) == 0
    shown = capsys.readouterr().out
    assert "ash" in shown
    assert "query_timeout" in shown
    assert "2 queries; ended after 20 s" in shown


def test_a_refusal_has_an_exit_code(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def busy(asked: tables.RawRequest) -> list[RawPart]:
        return [part(asked, 0, last=True, reason="busy", detail="wait for its end")]

    assert answered(store, busy, ASKED, tmp_path) == 9
    assert "wait for its end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "code"), [(("--seconds", "301"), 2), (("--most", "0"), 2), (("--workload", "nothing"), 4)]
)
def test_what_cannot_be_asked_is_said_at_once(
    store: Store, tmp_path: Path, changed: tuple[str, str], code: int
) -> None:
    assert run(["--workspace", str(tmp_path / "ws"), *ASKED, *changed]) == code
    with store.read() as session:
        assert session.query(tables.RawRequest).count() == 0
