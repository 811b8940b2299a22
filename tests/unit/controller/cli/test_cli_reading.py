"""Commands over a filled workspace: JSON for programs, tables for people, and a backup that comes back whole."""

import errno
import io
import json
import tarfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.cli.entry import run
from controller.leadership import Leadership
from controller.store import audit, telemetry
from controller.store.database import Store
from controller.workspace import Workspace
from tests.unit.controller.report.store_rows import DEPLOYMENT, DEVICES, filled_store
from wire.presence import Event, Traffic


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "ws"
    filled_store(place).close()
    return place


class Reader:
    """Runs commands in one workspace."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert run(["--workspace", str(self.root), *arguments]) == code
        return self._capsys.readouterr().out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def reader(root: Path, capsys: pytest.CaptureFixture[str]) -> Reader:
    return Reader(root, capsys)


def test_fleet_list(reader: Reader) -> None:
    row = {"fleet": "yard", "devices": 3, "online": 3, "enrolled": 0, "last_seen_s": 235.0}
    assert reader.json("fleet", "list") == [row]


def test_fleet_show_gives_latency_from_the_sketch(reader: Reader) -> None:
    rows = {row["device"]: row for row in reader.json("fleet", "show", "yard")["devices"]}
    assert set(rows) == set(DEVICES)
    (workload,) = rows["barn-1"]["workloads"]
    assert workload["p50_ms"] == pytest.approx(2.0, rel=0.01)  # the sketch's relative error
    assert workload["p95_ms"] == pytest.approx(9.0, rel=0.01)
    assert (workload["variant"], workload["state"], workload["queries"]) == ("onnx-int8", "committed", 4)
    assert (rows["barn-1"]["temperature_celsius"], rows["barn-1"]["emulated"]) == (48.5, True)


def test_fleet_show_as_a_table_says_emulated(reader: Reader) -> None:
    shown = reader("fleet", "show", "yard")
    assert "(emulated)" in shown
    assert "48 °C" in shown
    assert "p95 [ms]" in shown


def test_fleet_show_of_a_device_gives_all_numbers(reader: Reader) -> None:
    (row,) = reader.json("fleet", "show", "yard", "--device", "barn-1")["devices"]
    numbers = row["workloads"][0]["metrics"]
    assert (row["device"], numbers["queries"], numbers["lost"]) == ("barn-1", 4, 0)
    assert numbers["times"]["latency_ms"]["p99_ms"] == 9.0
    shown = reader("fleet", "show", "yard", "--device", "barn-1")
    assert "barn-2" not in shown
    for text in ("48 °C", "lost before a worker: 0", "total (arrival to answer)", "80.0 MiB", "p99 [ms]"):
        assert text in shown
    assert "from the network" not in shown
    reader("fleet", "show", "yard", "--device", "nowhere", code=4)


def test_fleet_show_of_a_device_says_what_its_downloads_took(reader: Reader) -> None:
    traffic = Traffic(artifact="b" * 64, received_bytes=120_000, reused_bytes=4_300_000)
    first = Event(
        fleet="yard",
        device="barn-1",
        kind="agent",
        reason="fetched",
        traffic=traffic,
        boot_id="5-1c",
        seq=900,
        at_s=1.0,
    )
    changes = ({"device": "barn-2"}, {"seq": 901, "reason": "chunk_corrupted", "traffic": None})
    told = [first, *(first.model_copy(update=change) for change in changes)]
    store = Store.open(Workspace(reader.root))
    with closing(store), store.begin() as session:
        assert all(telemetry.add_event(session, event, now_s=240.0) for event in told)
    (row,) = reader.json("fleet", "show", "yard", "--device", "barn-1")["devices"]
    assert row["fetched"] == [{"received_s": 240.0, "variant": "onnx-int8", **traffic.model_dump()}]
    shown = reader("fleet", "show", "yard", "--device", "barn-1")
    for text in ("from the network", "117.2 KiB", "4.1 MiB", "onnx-int8"):
        assert text in shown


def test_trials(reader: Reader) -> None:
    rows = reader.json("trial", "list")
    assert [(row["trial"], row["control"], row["samples"], row["processes"]) for row in rows] == [
        ("t0", True, 100, 1),
        ("t1", False, 100, 1),
    ]
    trial = reader.json("trial", "show", "t1")
    assert len(trial["replicates"][0]["samples_ns"]["total_ns"]) == 100
    assert "busy_host" in reader("trial", "show", "t1")


def test_rollouts(reader: Reader) -> None:
    (row,) = reader.json("rollout", "list")
    assert (row["rollout"], row["state"]) == ("r1", "completed")
    assert [len(wave["devices"]) for wave in reader.json("rollout", "show", "r1")["waves"]] == [2, 1]


def test_waves_are_numbered_from_one_in_every_table(reader: Reader) -> None:
    (row,) = [line.split() for line in reader("rollout", "list").splitlines() if "r1" in line]
    shown = reader("rollout", "show", "r1")
    assert "2" in row  # rows say wave 1 counted from 0, of two
    assert "1" not in row
    assert [line for line in shown.splitlines() if "barn-2" in line and "2" in line.split()]


def test_report(reader: Reader) -> None:
    assert reader.json("report", "latest")["deployment"]["id"] == DEPLOYMENT
    shown = reader("report", DEPLOYMENT)
    assert "4.00 [3.50, 4.60]" in shown
    page = Path(reader("report", "latest", "--html").strip())
    assert page == reader.root / "reports" / DEPLOYMENT / "report.html"
    assert json.loads(page.with_name("report.json").read_text())["deployment"]["id"] == DEPLOYMENT


def test_a_wish_is_written_for_the_leader(reader: Reader) -> None:
    assert "would ask" in reader("rollout", "rollback", "r1", "--dry-run")
    assert reader.json("rollout", "show", "r1")["wish"] is None
    store = Store.open(Workspace(reader.root))
    leadership = Leadership(store, time.time)
    leadership.take()
    assert "rollback asked" in reader("rollout", "rollback", "r1")
    leadership.release()
    store.close()
    assert reader.json("rollout", "show", "r1")["wish"] == "rollback"


def test_a_wish_that_nobody_could_carry_out_stays_written(reader: Reader) -> None:
    reader("rollout", "rollback", "r1", code=3)  # nobody leads, and these rows do not say where the broker is
    assert reader.json("rollout", "show", "r1")["wish"] == "rollback"


def test_audit(reader: Reader) -> None:
    store = Store.open(Workspace(reader.root))
    with store.begin() as session:
        for number in range(3):
            audit.append(session, "operator:x", "test", str(number), {}, now_s=float(number))
    assert reader.json("audit", "verify")["holds"] is True
    with store.begin() as session:
        audit.entries(session)[1].detail = {"changed": True}
    store.close()
    assert "broken" not in reader("audit", "verify", code=11)


def test_a_backup_comes_back_whole_and_the_former_workspace_is_kept(reader: Reader, tmp_path: Path) -> None:
    reader("init")
    archive = tmp_path / "b.tar.gz"
    reader("backup", str(archive))
    assert archive.stat().st_mode & 0o077 == 0
    (reader.root / "later").write_text("x")
    assert run(["--workspace", str(reader.root), "restore", str(archive)]) == 3
    reader("restore", str(archive), "--replace")
    assert not (reader.root / "later").exists()
    (former,) = tmp_path.glob("ws.before-*")
    assert (former / "later").read_text() == "x"
    assert reader.json("report", "latest")["deployment"]["id"] == DEPLOYMENT
    assert (reader.root / "keys" / "controller-ed25519").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("facts", [b"[]", b"{}", b'{"format": 1}', b'{"format": 9, "made_s": 1.0}'])
def test_a_backup_that_says_nothing_of_itself_is_refused(reader: Reader, tmp_path: Path, facts: bytes) -> None:
    entry = tarfile.TarInfo("backup.json")
    entry.size = len(facts)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        archive.addfile(entry, io.BytesIO(facts))
    reader("restore", str(tmp_path / "b.tar.gz"), "--replace", code=3)


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_what_is_no_backup_changes_nothing(reader: Reader, tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "b.tar.gz"
    archive.write_bytes(content)
    reader("restore", str(archive), "--replace", code=3)
    assert reader.json("report", "latest")["deployment"]["id"] == DEPLOYMENT


def _archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """Write a backup with the facts in front, so that it passes for one."""
    facts = json.dumps({"format": 1, "made_s": 1.0}).encode()
    with tarfile.open(path, "w:gz") as archive:
        for entry, content in ((tarfile.TarInfo("backup.json"), facts), *members):
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _link(name: str, to: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, to
    return entry


KEY = (tarfile.TarInfo("keys/controller-ed25519"), b"secret")


@pytest.mark.parametrize(
    "member",
    [
        (tarfile.TarInfo("../outside"), b"x"),
        (_link("models", "/etc"), b""),
        (tarfile.TarInfo("keys/controller-ed25519/below-a-file"), b"x"),
    ],
    ids=["above", "link", "below-a-file"],
)
def test_a_malicious_backup_is_refused_and_leaves_nothing(
    reader: Reader, tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]
) -> None:
    archive = _archive(tmp_path / "b.tar.gz", KEY, member)
    reader("restore", str(archive), "--replace", code=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "ws"]
    assert reader.json("report", "latest")["deployment"]["id"] == DEPLOYMENT


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(reader: Reader, tmp_path: Path, damage: str) -> None:
    content = np.random.default_rng(0).bytes(200_000)
    archive = _archive(tmp_path / "b.tar.gz", KEY, (tarfile.TarInfo("models/big"), content))
    whole = archive.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - each for each in whole[middle : middle + 500]) + whole[middle + 500 :]
    archive.write_bytes(whole[:middle] if damage == "cut" else flipped)
    reader("restore", str(archive), "--replace", code=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "ws"]


@pytest.mark.parametrize("database", [None, b"not a database", b"SQLite format 3\0" + bytes(4080)])
def test_a_backup_without_a_whole_database_changes_nothing(
    reader: Reader, tmp_path: Path, database: bytes | None
) -> None:
    members = [KEY] if database is None else [KEY, (tarfile.TarInfo("thresher.db"), database)]
    reader("restore", str(_archive(tmp_path / "b.tar.gz", *members)), "--replace", code=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "ws"]
    assert reader.json("report", "latest")["deployment"]["id"] == DEPLOYMENT


def test_a_full_disk_leaves_nothing_of_a_restore(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: tarfile.TarFile, path: Path, **__: object) -> None:
        (path / "keys").write_text("secret")
        raise OSError(errno.ENOSPC, "full")

    archive = _archive(tmp_path / "b.tar.gz", KEY)
    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    reader("restore", str(archive), "--replace", code=12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "ws"]


def test_doctor_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(tmp_path / "none"), "doctor", "--json"]) == 1
    findings = {row["check"]: row for row in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["workspace"]["verdict"] == "missing"
    assert "controller init" in findings["workspace"]["detail"]
    assert findings["onnxruntime"]["verdict"] == "ok"
