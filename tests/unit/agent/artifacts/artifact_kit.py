"""An artifact cut into chunks, a channel that misbehaves on demand, and a clock that tests move by hand."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from agent.artifacts.incoming import Elsewhere, Incoming
from agent.loop import Timer
from agent.update.fetch import Fetch
from wire.artifact import ArtifactRef, Chunk, ChunkIndex, FileEntry, Want
from wire.base import encode
from wire.canonical import sha256_hex
from wire.manifest import DatasetManifest
from wire.update import Have, ReportedError


@dataclass(frozen=True)
class Cut:
    """A data set ready to be served: reference, index, and everything that travels, by digest."""

    ref: ArtifactRef
    index: ChunkIndex
    parts: dict[str, bytes]
    files: dict[str, bytes]


def cut(chunks: int = 40, chunk_bytes: int = 100, piece_bytes: int = 1500, seed: int = 1) -> Cut:
    """Return an artifact of about `chunks` chunks; every second one is compressed."""
    content = random.Random(seed).randbytes(chunks * chunk_bytes - 700)
    files = {"inputs.npy": content[: len(content) // 3], "deep/labels.npy": content[len(content) // 3 :]}
    entries = tuple(FileEntry(path=name, size_bytes=len(each), sha256=sha256_hex(each)) for name, each in files.items())
    manifest = encode(DatasetManifest(name="set", kind="regression", samples=3, files=entries))
    return cut_stream(manifest, entries, manifest + content, (chunk_bytes, piece_bytes))


def changed(source: Cut, name: str | None) -> Cut:
    """Return the data set under another name, with other bytes in the file `name`; the rest is as it was."""
    dice = random.Random(99)
    files = {each: dice.randbytes(len(old)) if each == name else old for each, old in source.files.items()}
    entries = tuple(FileEntry(path=each, size_bytes=len(new), sha256=sha256_hex(new)) for each, new in files.items())
    manifest = encode(DatasetManifest(name="ant", kind="regression", samples=3, files=entries))
    return cut_stream(manifest, entries, manifest + b"".join(files.values()), (100, 1500))


def cut_stream(manifest: bytes, entries: tuple[FileEntry, ...], stream: bytes, sizes: tuple[int, int]) -> Cut:
    """Cut into chunks of at most so many bytes, none over the end of a file, and the index into pieces."""
    chunk_bytes, piece_bytes = sizes
    plain = []
    start = 0
    for size in (len(manifest), *(entry.size_bytes for entry in entries)):
        end = start + size
        plain += [stream[at : min(at + chunk_bytes, end)] for at in range(start, end, chunk_bytes)]
        start = end
    sent = [zstandard.compress(each) if place % 2 else each for place, each in enumerate(plain)]
    chunks = tuple(
        Chunk(id=sha256_hex(out), wire_bytes=len(out), plain_bytes=len(raw), encoding="zstd" if place % 2 else "raw")
        for place, (raw, out) in enumerate(zip(plain, sent, strict=True))
    )
    digest = sha256_hex(manifest)
    index = ChunkIndex(artifact=digest, manifest_bytes=len(manifest), files=entries, chunks=chunks)
    content = encode(index)
    pieces = [content[start : start + piece_bytes] for start in range(0, len(content), piece_bytes)]
    ref = ArtifactRef(
        digest=digest,
        index=tuple(sha256_hex(piece) for piece in pieces),
        index_bytes=len(content),
        size_bytes=len(stream),
        wire_bytes=sum(len(out) for out in sent),
    )
    start, files = len(manifest), {}
    for entry in entries:
        files[entry.path] = stream[start : start + entry.size_bytes]
        start += entry.size_bytes
    return Cut(ref, index, {sha256_hex(out): out for out in (*pieces, *sent)}, files)


class HandClock:
    """Timers that fire when the test says so, in order."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._timers: list[tuple[float, int, Timer]] = []

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        self._timers.append((self.now_s + delay_s, len(self._timers), timer))
        return timer

    def fire_next(self) -> bool:
        """Move to the next timer that waits and fire it; False where none does."""
        waiting = sorted(each for each in self._timers if each[2].waiting)
        if not waiting:
            return False
        self.now_s = max(self.now_s, waiting[0][0])
        waiting[0][2].fire()
        return True


Spoil = Callable[[str, bytes], list[bytes]]


@dataclass
class MemoryChannel:
    """Answers wants from a `Cut`, each payload through `spoil`: lost, doubled or damaged."""

    source: Cut
    spoil: Spoil = lambda _, payload: [payload]
    wants: list[Want] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    listening: Callable[[str, bytes], None] | None = None
    waiting: list[tuple[str, bytes]] = field(default_factory=list)

    def listen(self, artifact: str, deliver: Callable[[str, bytes], None]) -> None:
        assert artifact == self.source.ref.digest
        self.listening = deliver

    def unlisten(self, artifact: str) -> None:
        assert artifact == self.source.ref.digest
        self.listening = None

    def want(self, want: Want) -> None:
        self.wants.append(want)
        for digest in asked_of(want, self.source.index):
            self.sent.append(digest)
            self.waiting += [(digest, payload) for payload in self.spoil(digest, self.source.parts[digest])]

    def deliver(self, most: int = 10**9) -> int:
        """Hand over what is on the way, wants that this causes included; return how many payloads."""
        count = 0
        while self.waiting and count < most and self.listening is not None:
            self.listening(*self.waiting.pop(0))
            count += 1
        return count


def asked_of(want: Want, index: ChunkIndex) -> list[str]:
    """Return the digests that a want asks for."""
    import base64

    bits = base64.b64decode(want.missing)
    places = [want.first + bit for bit in range(8 * len(bits)) if bits[bit // 8] >> bit % 8 & 1]
    return [*want.pieces, *(index.chunks[place].id for place in places)]


@dataclass
class Fetching:
    """One fetch with everything around it."""

    folder: Path
    channel: MemoryChannel
    elsewhere: Elsewhere | None = None
    clock: HandClock = field(default_factory=HandClock)
    ends: list[ReportedError | None] = field(default_factory=list)
    progress: list[Have] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)

    def begin(self) -> Fetch:
        self.incoming = Incoming(self.folder, self.channel.source.ref, self.elsewhere)
        self.fetch = Fetch(
            "dev-1",
            self.incoming,
            self.channel,
            self.clock,
            self.ends.append,
            on_progress=self.progress.append,
            on_corrupt=self.corrupt.append,
        )
        self.fetch.start()
        return self.fetch

    def run(self, rounds: int = 500) -> None:
        """Deliver, and let time pass when nothing comes, until the fetch ends."""
        for _ in range(rounds):
            if self.ends:
                return
            if not self.channel.deliver() and not self.clock.fire_next():
                return
