"""Whether an index may be read, and describes the artifact that was signed for: bounds first, then its content.

Leaves out: the chunks themselves (`incoming.py`).
"""

from agent.errors import AgentError
from wire.artifact import ArtifactRef, ChunkIndex
from wire.base import decode
from wire.errors import WireError

LEAST_INDEX_BYTES = 1024 * 1024
"""An index may have so many bytes, and one more for each 16 of the artifact: chunks of 64 KiB take one for 480."""


class BadIndex(AgentError):
    """An artifact's index, whose pieces the signed document names, does not describe that artifact."""

    reason = "bad_index"
    exit_code = 5


def checked_index(ref: ArtifactRef, content: bytes) -> ChunkIndex:
    """Return the index, refused where it is not this artifact's, or promises more bytes than the signed document.

    Raises:
        BadIndex: It does; the text says what.
    """
    if len(content) != ref.index_bytes:
        raise BadIndex(f"the index of {ref.digest[:12]} has {len(content)} bytes, {ref.index_bytes} were signed")
    try:
        index = decode(ChunkIndex, content, ref.index_bytes)
    except WireError as exc:
        raise BadIndex(f"the index of {ref.digest[:12]} cannot be read: {exc}") from exc
    if index.artifact != ref.digest:
        raise BadIndex(f"the index is of {index.artifact[:12]}, the document asks for {ref.digest[:12]}")
    plain = sum(chunk.plain_bytes for chunk in index.chunks)
    if plain > ref.size_bytes:
        raise BadIndex(f"{ref.digest[:12]}: {plain} bytes in the index, {ref.size_bytes} were signed")
    wire = sum({chunk.id: chunk.wire_bytes for chunk in index.chunks}.values())
    if wire > ref.wire_bytes:
        raise BadIndex(f"{ref.digest[:12]}: {wire} bytes on the wire in the index, {ref.wire_bytes} were signed")
    return index


def check_proportion(ref: ArtifactRef) -> None:
    """Refuse an index that is large beside its artifact, before any of it is fetched: it is parsed as a whole.

    Raises:
        BadIndex: It is.
    """
    most = LEAST_INDEX_BYTES + ref.size_bytes // 16
    if ref.index_bytes > most:
        raise BadIndex(f"an index of {ref.index_bytes} bytes for {ref.size_bytes} is refused: at most {most} are read")
