"""Files of a watched folder: which are asked about, when, and where they go."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from agent.gateway.base import Outcome, Query, SourceLost
from agent.gateway.sources import make_source
from agent.gateway.sources.readings import BadReading
from agent.gateway.sources.spool import read_csv
from agent.serve.settings import FolderSource
from tests.unit.agent.gateway.sources.source_kit import ANSWERED, Intake, array_of, play, surroundings, until

ROOT_USER = os.geteuid() == 0


class Watched:
    """A watched folder and what came of it."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder / "in"
        self.folder.mkdir()
        self.intake = Intake()
        self.source = make_source(
            FolderSource.model_validate({"kind": "folder", "path": self.folder, "poll_s": 0.1, **settings}),
            surroundings(folder),
        )

    def put(self, name: str, content: bytes | str = "[[1, 2], [3, 4]]", mtime_s: float | None = None) -> None:
        """Let a file appear as a careful writer would, whole."""
        path = self.folder / f".{name}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if mtime_s is not None:
            os.utime(path, (mtime_s, mtime_s))
        path.rename(self.folder / name)

    def files(self, inside: str = "") -> list[str]:
        place = self.folder / inside
        return sorted(path.name for path in place.iterdir() if path.is_file()) if place.is_dir() else []

    def play(self, scene: Callable[[], Awaitable[None]]) -> None:
        """Run the source beside `scene`."""

        async def both() -> None:
            running = asyncio.create_task(self.source.run(self.intake))
            await scene()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        play(both)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_files_become_queries_in_the_order_of_their_age(watched: Watched) -> None:
    table = np.arange(6.0).reshape(2, 3)
    np.save(watched.folder / "c.npy", table)
    os.utime(watched.folder / "c.npy", (3000, 3000))
    watched.put("b.csv", "0,1,2\r\n3,4,5\r\n", 2000)
    watched.put("a.json", json.dumps(table.tolist()), 4000)
    watched.put("d.CSV", "\ufeff1.5, -2e3\n\n", 1000)
    watched.play(lambda: until(lambda: len(watched.files("done")) == 4))
    row, csv, npy, text = watched.intake.queries
    assert watched.intake.origins("file") == ["d.CSV", "b.csv", "c.npy", "a.json"]
    assert np.array_equal(array_of(row), [1.5, -2000.0])
    assert np.array_equal(array_of(csv), table)
    assert npy.encoding == "npy"
    assert np.array_equal(np.load(watched.folder / "done" / "c.npy"), table)
    assert text.encoding == "json"
    assert json.loads(text.payload) == table.tolist()
    assert (watched.files(), watched.intake.reasons) == ([], {})


def test_answered_files_can_be_deleted(tmp_path: Path) -> None:
    watched = Watched(tmp_path, after="delete")
    watched.put("a.json")
    watched.play(lambda: until(lambda: watched.intake.queries and not watched.files()))
    assert [each.name for each in watched.folder.iterdir()] == []


def test_a_file_that_still_grows_waits(watched: Watched) -> None:
    async def scene() -> None:
        with (watched.folder / "a.json").open("w") as stream:
            stream.write("[")
            for number in range(8):
                stream.write(f"{number}, ")
                stream.flush()
                await asyncio.sleep(0.05)
            assert watched.intake.queries == []
            stream.write("8]")
        await until(lambda: watched.files("done") == ["a.json"])

    watched.play(scene)
    assert [json.loads(query.payload) for query in watched.intake.queries] == [list(range(9))]


def test_unfinished_hidden_linked_and_other_names_are_left_alone(tmp_path: Path) -> None:
    watched = Watched(tmp_path, pattern="*.json*")
    outside = tmp_path / "secret.json"
    outside.write_text("[1]")
    left = [".hidden.json", "a.json.part", "b.json.tmp", "c.json~", "d.csv"]
    for name in left:
        (watched.folder / name).write_text("[1]")
    (watched.folder / "link.json").symlink_to(outside)
    (watched.folder / "inside.json").mkdir()
    os.mkfifo(watched.folder / "pipe.json")
    watched.put("z.json")
    watched.play(lambda: until(lambda: watched.files("done") == ["z.json"]))
    assert watched.intake.origins("file") == ["z.json"]
    assert {path.name for path in watched.folder.iterdir()} == {*left, "link.json", "inside.json", "pipe.json", "done"}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "1,2\n3\n", "file_malformed"),
        ("a.csv", "1,two\n", "file_malformed"),
        ("a.csv", "1,nan\n", "file_malformed"),
        ("a.csv", b"\xff\xfe1", "file_malformed"),
        ("a.csv", "\n\n", "file_malformed"),
        ("a.csv", '1,"2\n', "file_malformed"),
        ("a.json", "", "file_malformed"),
        ("a.jpg", "picture", "file_unknown_kind"),
        ("nameless", "[1]", "file_unknown_kind"),
        ("a.json", "[" + "1," * 600 + "1]", "file_too_large"),
    ],
)
def test_what_gives_no_query_is_set_aside_with_its_reason(
    tmp_path: Path, name: str, content: bytes | str, reason: str
) -> None:
    watched = Watched(tmp_path, largest_bytes=1000, after="delete")
    watched.put(name, content)
    watched.play(lambda: until(lambda: watched.files("rejected") == sorted([name, f"{name}.reason.txt"])))
    assert (watched.folder / "rejected" / f"{name}.reason.txt").read_text().startswith(f"{reason}: ")
    assert (watched.intake.reasons, watched.intake.queries) == ({reason: 1}, [])


def test_a_query_that_the_worker_refuses_is_rejected(watched: Watched) -> None:
    watched.intake.answer = lambda _: Outcome(reason="bad_query", detail="expected (3, 128), given (2, 2)")
    watched.put("a.json")
    watched.play(lambda: until(lambda: "a.json.reason.txt" in watched.files("rejected")))
    note = (watched.folder / "rejected" / "a.json.reason.txt").read_text()
    assert note == "bad_query: expected (3, 128), given (2, 2)\n"
    assert watched.intake.reasons == {}, "the lane and the worker have counted it"


def test_a_file_waits_until_there_is_a_worker(watched: Watched) -> None:
    gone = iter([Outcome(reason="no_worker")] * 5)
    watched.intake.answer = lambda _: next(gone, ANSWERED)
    watched.put("a.json", mtime_s=1)
    watched.put("b.json", mtime_s=2)
    watched.play(lambda: until(lambda: watched.files("done") == ["a.json", "b.json"]))
    assert watched.intake.origins("file") == ["a.json"] * 6 + ["b.json"]
    assert watched.files("rejected") == []


@pytest.mark.parametrize("reason", ["worker_ended", "query_out_of_memory"])
def test_a_file_that_ends_workers_is_rejected_the_third_time(watched: Watched, reason: str) -> None:
    watched.intake.answer = lambda query: (
        Outcome(reason=reason, asked=True) if query.origin["file"] == "a.json" else ANSWERED
    )
    watched.put("a.json", mtime_s=1)
    watched.put("b.json", mtime_s=2)
    watched.play(lambda: until(lambda: watched.files("done") == ["b.json"]))
    assert watched.intake.origins("file") == ["a.json"] * 3 + ["b.json"]
    assert watched.files("rejected") == ["a.json", "a.json.reason.txt"]


@pytest.mark.parametrize("reason", ["query_timeout", "worker_ended"])
def test_tries_that_no_worker_had_do_not_condemn_a_file(watched: Watched, reason: str) -> None:
    """Two that a worker had are not enough, however many ran out of time in the line before."""
    had = [Outcome(reason=reason, asked=True)]
    outcomes = iter([*had, *[Outcome(reason=reason)] * 5, *had, Outcome(reason=reason)])
    watched.intake.answer = lambda _: next(outcomes, ANSWERED)
    watched.put("a.json")
    watched.play(lambda: until(lambda: watched.files("done") == ["a.json"]))
    assert len(watched.intake.queries) == 9
    assert watched.files("rejected") == []


def test_what_is_set_aside_is_bounded(tmp_path: Path) -> None:
    watched = Watched(tmp_path, keep=2)
    for number in range(6):
        watched.put(f"{number}.json", "[1]" if number % 2 else "", mtime_s=1000 + number)
    watched.play(lambda: until(lambda: not watched.files() and len(watched.files("done")) == 2))
    watched.play(lambda: until(lambda: len(watched.files("rejected")) == 4))
    assert watched.files("done") == ["3.json", "5.json"]
    assert watched.files("rejected") == ["2.json", "2.json.reason.txt", "4.json", "4.json.reason.txt"]


def test_what_was_not_set_aside_is_asked_again_by_the_next_process(watched: Watched, tmp_path: Path) -> None:
    """At least once: the crash comes after the answer."""
    watched.put("a.json")

    async def crash() -> None:
        def answer(_: Query) -> Outcome:
            raise SystemExit

        watched.intake.answer = answer
        with pytest.raises(SystemExit):
            await watched.source.run(watched.intake)

    play(crash)
    after = Watched.__new__(Watched)
    after.folder, after.intake = watched.folder, Intake()
    settings = FolderSource(kind="folder", path=watched.folder, poll_s=0.1)
    after.source = make_source(settings, surroundings(tmp_path))
    after.play(lambda: until(lambda: after.files("done") == ["a.json"]))
    assert len(after.intake.queries) == 1


def test_a_folder_that_is_gone_is_lost_and_says_what_to_do(watched: Watched) -> None:
    async def scene() -> None:
        running = asyncio.create_task(watched.source.run(watched.intake))
        await asyncio.sleep(0.05)
        watched.folder.rmdir()
        with pytest.raises(SourceLost, match="make it"):
            await running
        watched.folder.mkdir()
        watched.put("a.json")
        again = asyncio.create_task(watched.source.run(watched.intake))
        await until(lambda: watched.files("done") == ["a.json"])
        again.cancel()

    play(scene)


def test_a_file_that_cannot_be_set_aside_is_not_asked_about_again(watched: Watched) -> None:
    """`done` is a file here, so nothing can be moved into it."""
    (watched.folder / "done").write_text("in the way")
    watched.put("a.json", mtime_s=1)

    async def scene() -> None:
        for _ in range(3):
            with pytest.raises(SourceLost, match="set aside"):
                await watched.source.run(watched.intake)
        (watched.folder / "done").unlink()
        running = asyncio.create_task(watched.source.run(watched.intake))
        await until(lambda: watched.files("done") == ["a.json"])
        running.cancel()

    play(scene)
    assert watched.intake.origins("file") == ["a.json"]


@pytest.mark.skipif(ROOT_USER, reason="root may write everywhere")
def test_a_folder_that_may_not_be_changed_is_lost(watched: Watched) -> None:
    watched.put("a.json")
    watched.folder.chmod(0o555)

    async def scene() -> None:
        with pytest.raises(SourceLost, match="writable"):
            await watched.source.run(watched.intake)

    play(scene)
    assert watched.intake.queries == []


def test_a_table_of_many_rows_keeps_its_shape() -> None:
    values, shape = read_csv(b"1,2\n3,4\n5,6\n")
    assert np.array_equal(np.frombuffer(values).reshape(shape), [[1, 2], [3, 4], [5, 6]])
    with pytest.raises(BadReading):
        read_csv(b"1;2\n")
