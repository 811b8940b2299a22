"""What a bundle is: one variant with its pipeline, golden outputs and evaluation set, under one digest.

A bundle's folder holds `manifest.json` and the files that it names. Arrays are `.npy` (never pickled).
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from wire.artifact import FileEntry
from wire.base import Message, Name, decode, encode
from wire.canonical import Digest, sha256_hex
from wire.spec import Kind, Pipeline

MANIFEST_SCHEMA = 1
LARGEST_MANIFEST_BYTES = 4 * 1024 * 1024

Format = Literal["onnx", "tflite", "executorch", "coreml"]


class GoldenSpec(Message):
    """Inputs (raw queries, stacked) and the outputs (raw, de-quantised float32) that this variant gave on them.

    A device passes when every output lies within `absolute + relative * |expected|`; or, for classification, when at
    least `top1_agreement_ratio` of the arg max agree and the signal-to-noise ratio of the outputs reaches `sqnr_db`;
    or, for detection and segmentation, when that ratio alone does: a head or a map has thousands of outputs, and where
    two are nearly equal another processor may well take the other one. Of several outputs that are read, all are
    compared, one behind the other. Integer kernels differ between processors, so bit equality is not asked for.
    """

    inputs: str = "golden/inputs.npy"
    outputs: str = "golden/outputs.npy"
    samples: int = Field(ge=1)
    absolute: float = Field(default=1e-3, ge=0)
    relative: float = Field(default=1e-3, ge=0)
    sqnr_db: float = 20.0
    top1_agreement_ratio: float = Field(default=0.99, ge=0, le=1)


class BundleManifest(Message):
    """The manifest of a bundle."""

    schema_version: int = MANIFEST_SCHEMA
    artifact: Literal["bundle"] = "bundle"
    model: Name
    model_version: str = Field(max_length=64)
    kind: Kind
    variant: str = Field(max_length=128)
    recipe: dict[str, Any] = Field(default_factory=dict)
    format: Format
    engine: str = Field(max_length=32)
    engine_options: dict[str, Any] = Field(default_factory=dict)
    model_file: str = Field(max_length=200)
    pipeline: Pipeline
    golden: GoldenSpec
    evaluation: Digest | None = None
    files: tuple[FileEntry, ...] = Field(min_length=1, max_length=10_000)


class DatasetManifest(Message):
    """The manifest of an evaluation set: raw queries and labels, stacked."""

    schema_version: int = MANIFEST_SCHEMA
    artifact: Literal["dataset"] = "dataset"
    name: str = Field(max_length=128)
    kind: Kind
    samples: int = Field(ge=1)
    inputs: str = "inputs.npy"
    labels: str | None = "labels.npy"
    files: tuple[FileEntry, ...] = Field(min_length=1, max_length=10_000)


Manifest = Annotated[BundleManifest | DatasetManifest, Field(discriminator="artifact")]


def manifest_digest(manifest: BundleManifest | DatasetManifest) -> str:
    """Return the artifact's digest: that of its manifest's canonical bytes."""
    return sha256_hex(encode(manifest))


def read_bundle_manifest(content: bytes) -> BundleManifest:
    """Return the manifest of a bundle.

    Raises:
        WireError: Too large, or not a bundle's manifest.
    """
    return decode(BundleManifest, content, LARGEST_MANIFEST_BYTES)
