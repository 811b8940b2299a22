"""Ways to bring a changed artifact to a device that has the one before it, and the bytes that each moves.

Decides: that the product's own way is taken by a device: its store, its fetch, its verification. The others are
computed: all chunks anew, chunks of a fixed size by the same rules (compression, index, what is shared), and bsdiff's
patch, which fits one pair of versions and would have to be made and signed for each that devices have. Leaves out:
what changed (`pairs.py`).
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.artifacts.assemble import assemble
from agent.artifacts.incoming import Incoming
from agent.artifacts.store import ArtifactStore as DeviceStore
from agent.loop import Timer
from agent.update.fetch import Fetch
from controller.bundle.artifacts import Artifact, ArtifactStore
from controller.bundle.chunk import cut, cut_bytes, index_pieces
from controller.bundle.pack import file_entries
from controller.distribute.merge import wanted_chunks
from wire.artifact import Want
from wire.base import LARGEST_PART_BYTES
from wire.manifest import DatasetManifest
from wire.update import Have, ReportedError

FIXED_BYTES = LARGEST_PART_BYTES
NO_BSDIFF = "bsdiff4 is not installed: pip install bsdiff4 (the extra `bench`)"

Files = Mapping[str, bytes]
"""path -> content: the model, golden inputs and golden outputs."""


@dataclass(frozen=True)
class Moved:
    """Bytes on the wire for one pair, index included. new_chunks: of the product's way. patch_bytes: null with
    `no_patch`, the reason."""

    full_bytes: int
    ours_bytes: int
    fixed_bytes: int
    patch_bytes: int | None
    no_patch: str
    chunks: int
    new_chunks: int


class Disagreement(Exception):
    """A device fetched something else than the computation says."""


def moved(before: Files, after: Files, folder: Path) -> Moved:
    """Return what each way moves. folder: empty; stores of both sides are made in it.

    Raises:
        Disagreement: A device's fetch failed, or gave other bytes.
    """
    controller, device = ArtifactStore(folder / "controller"), DeviceStore(folder / "device")
    old, new = _packed(controller, before), _packed(controller, after)
    fetched(controller, old, device)
    have = fetched(controller, new, device)
    known = {each.id for each in controller.index(old.digest).chunks}
    chunks = {each.id: each for each in controller.index(new.digest).chunks}
    patch = _patch_bytes(before, after)
    return Moved(
        full_bytes=new.ref.wire_bytes + new.ref.index_bytes,
        ours_bytes=have.received_bytes or 0,
        fixed_bytes=_fixed_bytes(before, after),
        patch_bytes=patch,
        no_patch="" if patch is not None else NO_BSDIFF,
        chunks=len(chunks),
        new_chunks=len(chunks.keys() - known),
    )


def fetched(controller: ArtifactStore, artifact: Artifact, device: DeviceStore) -> Have:
    """Have a device fetch and assemble an artifact; return what it took.

    Raises:
        Disagreement: It failed, or other bytes came out.
    """
    incoming = Incoming(device.incoming(artifact.digest), artifact.ref, device)
    ends: list[ReportedError | None] = []
    line = _Line(controller)
    fetch = Fetch("bench", incoming, line, _NoTimers(), ends.append)
    fetch.start()
    line.deliver()
    if ends != [None]:
        raise Disagreement(f"the fetch of {artifact.digest[:12]} ended with {ends}")
    have = incoming.have()
    folder = assemble(incoming, device).folder
    for entry in artifact.manifest.files:
        if (folder / entry.path).read_bytes() != (controller.folder(artifact.digest) / entry.path).read_bytes():
            raise Disagreement(f"{entry.path} of {artifact.digest[:12]} is not what was sent")
    return have


class _Line:
    """The broker between them: every want is answered, in order."""

    def __init__(self, controller: ArtifactStore) -> None:
        self._controller = controller
        self._waiting: list[tuple[str, bytes]] = []
        self._listening: Callable[[str, bytes], None] | None = None

    def listen(self, _artifact: str, deliver: Callable[[str, bytes], None], /) -> None:
        self._listening = deliver

    def unlisten(self, _artifact: str, /) -> None:
        self._listening = None

    def want(self, want: Want) -> None:
        self._waiting += [(piece, self._controller.piece(want.artifact, piece)) for piece in want.pieces]
        if want.missing:
            chunks = self._controller.index(want.artifact).chunks
            ids = [chunks[number].id for number in wanted_chunks(want)]
            self._waiting += [(each, self._controller.chunk(want.artifact, each)) for each in ids]

    def deliver(self) -> None:
        while self._waiting and self._listening is not None:
            self._listening(*self._waiting.pop(0))


class _NoTimers:
    """Nothing is lost on this line, so nobody waits."""

    def after(self, _delay_s: float, call: Callable[[], None], /) -> Timer:
        return Timer(call)


def _packed(store: ArtifactStore, files: Files) -> Artifact:
    manifest = DatasetManifest(name="bundle", kind="regression", samples=1, files=file_entries(files))
    return store.add(manifest, files)


def _fixed_bytes(before: Files, after: Files) -> int:
    """Return what moves with cuts at multiples of `FIXED_BYTES`, all else as in the product."""
    old = {each.id for name, content in before.items() for each, _ in cut_bytes(name, content, _fixed_ends)}
    index, wires = cut("0" * 64, b"{}", file_entries(after), after, ends=_fixed_ends)
    pieces = sum(map(len, index_pieces(index)))
    return pieces + sum(len(wire) for each, wire in wires.items() if each not in old)


def _fixed_ends(_: str, content: bytes) -> tuple[int, ...]:
    return (*range(FIXED_BYTES, len(content), FIXED_BYTES), len(content)) if content else ()


def _patch_bytes(before: Files, after: Files) -> int | None:
    """Return the bytes of bsdiff's patches of all files; null where it is not installed."""
    if importlib.util.find_spec("bsdiff4") is None:
        return None
    import bsdiff4

    return sum(len(bsdiff4.diff(before.get(name, b""), content)) for name, content in after.items())
