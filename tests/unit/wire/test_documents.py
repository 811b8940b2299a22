"""Rules that span fields: what a desired document, an index, a manifest and a specification must say together."""

from typing import Any

import pytest
from pydantic import ValidationError

from wire.artifact import ArtifactRef, Chunk, ChunkIndex, FileEntry, Want
from wire.base import decode, encode
from wire.canonical import canonical_json, sha256_hex
from wire.errors import MalformedMessage, OversizedMessage
from wire.manifest import LARGEST_MANIFEST_BYTES, DatasetManifest, manifest_digest, read_bundle_manifest
from wire.spec import ClassificationPost, Pipeline, TensorPre, TensorSpec, ZScore
from wire.update import Desired

A, B = "a" * 64, "b" * 64
REF = ArtifactRef(digest=A, index=(B,), index_bytes=1, size_bytes=1, wire_bytes=1)
DESIRED: dict[str, Any] = {
    "fleet": "f",
    "device": "d",
    "workload": "main",
    "gen": 1,
    "epoch": 1,
    "action": "run",
    "bundle": REF.model_dump(),
    "engine": "onnxruntime",
    "issued_s": 0,
    "expires_s": 1,
}


@pytest.mark.parametrize("missing", ["bundle", "engine"])
def test_run_names_a_bundle_and_its_engine(missing: str) -> None:
    with pytest.raises(MalformedMessage, match="needs a bundle and an engine"):
        decode(Desired, canonical_json({**DESIRED, missing: None}))


@pytest.mark.parametrize("action", ["hold", "remove"])
def test_hold_and_remove_need_neither(action: str) -> None:
    assert decode(Desired, canonical_json({**DESIRED, "action": action, "bundle": None, "engine": None})).bundle is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gen", 0),
        ("gen", 1.5),
        ("epoch", 0),
        ("action", "downgrade"),
        ("wave", -1),
        ("deadline_s", 0),
        ("probation_s", -1),
        ("probation_s", 8 * 86400),
        ("expires_s", 0),
        ("retry_nonce", "n" * 65),
        ("previous", "A" * 64),
        ("window", {"from_minute": 0, "to_minute": 1440}),
        ("limits", {"memory_bytes": 0}),
    ],
)
def test_a_desired_document_is_bounded(field: str, value: object) -> None:
    with pytest.raises(MalformedMessage, match=field):
        decode(Desired, canonical_json({**DESIRED, field: value}))


def index(plain_bytes: int, paths: tuple[str, ...] = ("model.onnx",)) -> ChunkIndex:
    files = tuple(FileEntry(path=path, size_bytes=100, sha256=A) for path in paths)
    chunks = (Chunk(id=B, wire_bytes=50, plain_bytes=plain_bytes, encoding="zstd"),)
    return ChunkIndex(artifact=A, manifest_bytes=20, files=files, chunks=chunks)


def test_an_index_cuts_exactly_the_manifest_and_its_files() -> None:
    assert index(120).chunks[0].plain_bytes == 120
    with pytest.raises(ValidationError, match="chunks hold 119 bytes, the files 120"):
        index(119)


@pytest.mark.parametrize("paths", [("a", "a"), ("manifest.json",)])
def test_no_file_overwrites_another_or_the_manifest(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="stands twice"):
        index(20 + 100 * len(paths), paths)


@pytest.mark.parametrize("bytes_", [0, 96 * 1024 + 1])
def test_a_chunk_fits_every_broker(bytes_: int) -> None:
    with pytest.raises(ValidationError, match="wire_bytes"):
        Chunk(id=B, wire_bytes=bytes_, plain_bytes=1)


def test_a_chunk_announces_a_bounded_length() -> None:
    with pytest.raises(ValidationError, match="plain_bytes"):
        Chunk(id=B, wire_bytes=1, plain_bytes=1024 * 1024 + 1)


def test_a_want_is_bounded() -> None:
    with pytest.raises(ValidationError, match="missing"):
        Want(device="d", artifact=A, missing="A" * 40_001)


def dataset(samples: int) -> DatasetManifest:
    files = (FileEntry(path="inputs.npy", size_bytes=10, sha256=B),)
    return DatasetManifest(name="soil", kind="regression", samples=samples, files=files)


def test_a_digest_stands_for_the_whole_manifest() -> None:
    assert manifest_digest(dataset(3)) == sha256_hex(encode(dataset(3))) != manifest_digest(dataset(4))


def test_a_field_of_a_later_release_is_part_of_the_digest() -> None:
    later = decode(DatasetManifest, canonical_json({**dataset(3).model_dump(mode="json"), "later": 1}))
    assert manifest_digest(later) != manifest_digest(dataset(3))


def test_a_data_set_is_no_bundle() -> None:
    with pytest.raises(MalformedMessage, match="artifact"):
        read_bundle_manifest(encode(dataset(3)))


def test_a_manifest_is_bounded() -> None:
    with pytest.raises(OversizedMessage):
        read_bundle_manifest(b" " * (LARGEST_MANIFEST_BYTES + 1))


@pytest.mark.parametrize(("mean", "deviation"), [((), ()), ((1.0,), ()), ((1.0, 2.0), (1.0,))])
def test_training_statistics_stand_in_the_bundle(mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="equal length"):
        ZScore(statistics="training", mean=mean, deviation=deviation)


def test_the_sort_of_pipeline_is_told_by_kind() -> None:
    tensor = TensorSpec(name="x", shape=(-1, 4))
    pipeline = Pipeline(pre=TensorPre(input=tensor), post=ClassificationPost(output=tensor))
    assert decode(Pipeline, encode(pipeline)) == pipeline
    with pytest.raises(MalformedMessage, match="pre"):
        decode(Pipeline, canonical_json({"pre": {"kind": "audio"}, "post": pipeline.post.model_dump()}))
