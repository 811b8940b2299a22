import base64
import logging
from collections.abc import Callable

import pytest

from controller.distribute.chunks import MOST_IN_FLIGHT, ChunkServer
from controller.distribute.merge import WINDOW_S
from controller.errors import NotFound
from wire.artifact import ArtifactRef, Chunk, ChunkIndex, FileEntry, Want
from wire.canonical import sha256_hex
from wire.topics import Topics

ARTIFACT = "a" * 64
CHUNKS = {sha256_hex(bytes([number]) * 10): bytes([number]) * 10 for number in range(100)}
PIECE = b"the index"
TOPICS = Topics("farm")


class Source:
    """An artifact of a hundred chunks."""

    def ref(self, digest: str) -> ArtifactRef:
        if digest != ARTIFACT:
            raise NotFound(f"no artifact {digest}")
        return ArtifactRef(digest=digest, index=(sha256_hex(PIECE),), index_bytes=9, size_bytes=1000, wire_bytes=1000)

    def index(self, digest: str) -> ChunkIndex:
        return ChunkIndex(
            artifact=digest,
            manifest_bytes=10,
            files=(FileEntry(path="model", size_bytes=990, sha256="b" * 64),),
            chunks=tuple(Chunk(id=each, wire_bytes=10, plain_bytes=10) for each in CHUNKS),
        )

    def chunk(self, _artifact: str, chunk: str) -> bytes:
        return CHUNKS[chunk]

    def piece(self, _artifact: str, _digest: str) -> bytes:
        return PIECE


class Sent:
    """What was published; acknowledges at once, or never."""

    def __init__(self, acknowledges: bool = True) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._acknowledges = acknowledges

    def __call__(self, topic: str, payload: bytes, *, on_done: Callable[[], None] | None = None) -> None:
        self.messages.append((topic, payload))
        if self._acknowledges and on_done is not None:
            on_done()


def want(count: int, device: str = "pi-1", artifact: str = ARTIFACT, index: tuple[str, ...] = ()) -> Want:
    bitmap = ((1 << count) - 1).to_bytes(count // 8 + 1, "little")
    pieces = (sha256_hex(PIECE),)
    missing = base64.b64encode(bitmap).decode()
    return Want(device=device, artifact=artifact, pieces=pieces, missing=missing, index=index)


def serve(*wants: Want, sent: Sent | None = None, connected: bool = True) -> tuple[Sent, ChunkServer]:
    sent = sent or Sent()
    now_s = [0.0]
    server = ChunkServer(Source(), sent, lambda: connected, lambda: now_s[0])
    for each in wants:
        server.add("farm", each)
    now_s[0] += WINDOW_S
    server.serve_due()
    return sent, server


def test_pieces_go_first_then_chunks_by_number_each_once_for_all() -> None:
    sent, server = serve(want(3), want(5, "pi-2"))
    assert [payload for _, payload in sent.messages] == [PIECE, *list(CHUNKS.values())[:5]]
    assert sent.messages[1][0] == TOPICS.chunk(ARTIFACT, next(iter(CHUNKS)))
    assert server.published_bytes == {ARTIFACT: 9 + 50}
    assert server.published_chunks == {ARTIFACT: 6}


def test_more_than_the_window_at_a_time_waits_for_the_broker() -> None:
    sent, _ = serve(want(100))
    assert len(sent.messages) == 101


def test_a_broker_that_acknowledges_nothing_is_not_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.distribute.chunks.ACKNOWLEDGE_TIMEOUT_S", 0.0)
    sent, _ = serve(want(100), sent=Sent(acknowledges=False))
    assert len(sent.messages) == MOST_IN_FLIGHT


def test_numbers_beyond_the_index_are_ignored() -> None:
    sent, _ = serve(Want(device="pi-1", artifact=ARTIFACT, first=99, missing=base64.b64encode(b"\xff").decode()))
    assert [payload for _, payload in sent.messages] == [list(CHUNKS.values())[99]]


@pytest.mark.parametrize(
    ("asked", "said"),
    [(want(1, artifact="c" * 64), "no artifact"), (want(1, index=("d" * 64,)), "another index")],
)
def test_what_cannot_be_served_is_logged_and_nothing_is_sent(
    asked: Want, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        sent, server = serve(asked)
    assert sent.messages == []
    assert not server.published_bytes
    assert said in caplog.text
    assert "pi-1" in caplog.text


def test_without_a_broker_nothing_is_queued() -> None:
    assert serve(want(3), connected=False)[0].messages == []
