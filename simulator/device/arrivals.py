"""What has arrived of one artifact at one device, in memory: a bit a chunk. The bytes are checked and let go.

Stands where the agent has `artifacts/incoming.py`: the agent's own `Fetch` asks for what is missing here.
"""

from collections.abc import Container

from simulator.device.library import AnyManifest, Known, Library
from wire.artifact import ArtifactRef, ChunkIndex
from wire.update import Have


class Arrivals:
    """One artifact under way."""

    def __init__(self, ref: ArtifactRef, library: Library) -> None:
        self.ref = ref
        self._library = library
        self._pieces: dict[str, bytes] = {}
        self._known: Known | None = None
        self._here: set[int] = set()
        self._received_bytes = 0

    @property
    def index(self) -> ChunkIndex | None:
        """The index, once all its pieces are here."""
        return self._known.index if self._known is not None else None

    @property
    def complete(self) -> bool:
        return self._known is not None and len(self._here) == len(self._known.index.chunks)

    def missing_pieces(self) -> list[str]:
        """Return the index pieces that are not here, in order, each once."""
        return [] if self._known else [each for each in dict.fromkeys(self.ref.index) if each not in self._pieces]

    def is_missing(self, chunk: str) -> bool:
        """Return whether `chunk` belongs to the artifact and is not here."""
        places = self._known.positions.get(chunk) if self._known is not None else None
        return places is not None and places[0] not in self._here

    def next_missing(self, most: int, skip: Container[str] = ()) -> list[int]:
        """Return up to `most` positions of missing chunks, lowest first, without those in `skip`, each chunk once."""
        found: list[int] = []
        for chunk, places in self._known.positions.items() if self._known is not None else ():
            if len(found) >= most:
                break
            if places[0] not in self._here and chunk not in skip:
                found.append(places[0])
        return found

    def have(self) -> Have:
        """Return the progress."""
        weighed = self._known.weighed if self._known is not None else {}
        return Have(
            chunks=len(self._here),
            of_chunks=len(weighed),
            wire_bytes=sum(weighed[place] for place in self._here),
            received_bytes=self._received_bytes,
        )

    def count_received(self, size_bytes: int) -> None:
        """Count what the network brought for this artifact, whatever became of it."""
        self._received_bytes += size_bytes

    def add_piece(self, digest: str, payload: bytes) -> None:
        """Keep an index piece whose digest was verified; with the last one the index is read.

        Raises:
            BadIndex: The index does not describe the artifact.
        """
        self._pieces[digest] = payload
        if not self.missing_pieces():
            self._known = self._library.index(self.ref, b"".join(self._pieces[each] for each in self.ref.index))
            self._pieces = {}

    def add_chunk(self, chunk: str, payload: bytes) -> None:
        """Note that a chunk is here whose digest was verified."""
        if self._known is not None:
            self._library.keep(self._known, chunk, payload)
            self._here.update(self._known.positions[chunk])

    def commit(self) -> None:
        """Nothing is to be made safe: a power cut costs no memory here."""

    def manifest(self) -> AnyManifest:
        """Return the artifact's manifest; only once it is complete.

        Raises:
            BadBundle: Not what its digest says.
        """
        assert self._known is not None
        return self._library.manifest(self._known)
