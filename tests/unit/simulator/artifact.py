"""A bundle of bytes that no engine could run: a simulated device must not care."""

import random

from wire.artifact import FileEntry
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, GoldenSpec
from wire.spec import ClassificationPost, Pipeline, TensorPre, TensorSpec

LABELS = ("ash", "beech", "elm", "oak")


def bundle_manifest(name: str, size_bytes: int, engine: str) -> tuple[BundleManifest, dict[str, bytes]]:
    """Return a manifest with the files that it names."""
    content = random.Random(name).randbytes(size_bytes)
    tensor = TensorSpec(name="x", shape=(-1, 4))
    files = {"model.onnx": content, "golden/inputs.npy": b"in", "golden/outputs.npy": b"out"}
    entries = tuple(FileEntry(path=path, size_bytes=len(body), sha256=sha256_hex(body)) for path, body in files.items())
    manifest = BundleManifest(
        model="leaf",
        model_version="1",
        kind="classification",
        variant=name,
        format="onnx",
        engine=engine,
        model_file="model.onnx",
        pipeline=Pipeline(pre=TensorPre(input=tensor), post=ClassificationPost(output=tensor, labels=LABELS)),
        golden=GoldenSpec(samples=1),
        files=entries,
    )
    return manifest, files
