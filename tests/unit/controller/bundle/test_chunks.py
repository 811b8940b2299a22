"""Chunks: what travels equals what was cut, and equal files give equal chunks."""

import hashlib

import numpy as np
import pytest
import zstandard

from controller.bundle.chunk import cut, cut_bytes, index_pieces, wire_size
from controller.bundle.chunking.gear import LARGEST_BYTES
from wire.artifact import Chunk, ChunkIndex, FileEntry
from wire.base import LARGEST_PART_BYTES, decode
from wire.canonical import sha256_hex

NOISE = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
ZEROS = bytes(200_000)


def plain(chunk: Chunk, wire: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(wire) if chunk.encoding == "zstd" else wire


@pytest.mark.parametrize("content", [NOISE, ZEROS, NOISE[:1], NOISE[:LARGEST_BYTES], NOISE[: LARGEST_BYTES + 1], b""])
def test_chunks_give_the_content_back(content: bytes) -> None:
    pairs = list(cut_bytes("file", content))
    assert b"".join(plain(*pair) for pair in pairs) == content
    for chunk, wire in pairs:
        assert chunk.id == hashlib.sha256(wire).hexdigest()
        assert (chunk.wire_bytes, chunk.plain_bytes) == (len(wire), len(plain(chunk, wire)))
        assert chunk.plain_bytes <= LARGEST_BYTES
        assert chunk.wire_bytes <= LARGEST_PART_BYTES


def test_only_what_gets_smaller_is_compressed() -> None:
    assert {chunk.encoding for chunk, _ in cut_bytes("file", NOISE)} == {"raw"}
    assert {chunk.encoding for chunk, _ in cut_bytes("file", ZEROS)} == {"zstd"}


@pytest.mark.parametrize(("noise", "encoding"), [(31_000, "raw"), (30_000, "zstd")])
def test_a_twentieth_is_the_least_saving(noise: int, encoding: str) -> None:
    content = NOISE[:noise] + bytes(32_000 - noise)
    assert [chunk.encoding for chunk, _ in cut_bytes("file", content)] == [encoding]


def whole(*files: tuple[str, bytes]) -> tuple[ChunkIndex, dict[str, bytes]]:
    entries = [FileEntry(path=path, size_bytes=len(content), sha256=sha256_hex(content)) for path, content in files]
    return cut("ab" * 32, b"{manifest}", entries, dict(files))


def test_an_artifacts_stream_is_manifest_then_files() -> None:
    index, wires = whole(("model.onnx", NOISE), ("empty", b""), ("golden/inputs.npy", ZEROS))
    stream = b"".join(plain(chunk, wires[chunk.id]) for chunk in index.chunks)
    assert stream == b"{manifest}" + NOISE + ZEROS


def test_a_file_that_two_artifacts_share_has_the_same_chunks() -> None:
    first, _ = whole(("golden/inputs.npy", ZEROS[:1000]), ("model.onnx", NOISE))
    second, _ = whole(("golden/inputs.npy", ZEROS[:77]), ("model.onnx", NOISE))
    model = {chunk.id for chunk, _ in cut_bytes("file", NOISE)}
    assert model <= {chunk.id for chunk in first.chunks} & {chunk.id for chunk in second.chunks}


def test_the_index_survives_the_wire() -> None:
    index, _ = whole(*[(f"file-{number}", NOISE[number : number + 400]) for number in range(900)])
    pieces = index_pieces(index)
    assert len(pieces) > 1
    assert max(map(len, pieces)) <= LARGEST_PART_BYTES
    assert decode(ChunkIndex, b"".join(pieces)) == index


def test_what_repeats_is_sent_once() -> None:
    once = wire_size("file", ZEROS[:LARGEST_BYTES])
    assert wire_size("file", ZEROS[: 2 * LARGEST_BYTES]) == once
    assert wire_size("file", NOISE) == len(NOISE)
