"""Put a variant, its pipeline and its golden outputs into one artifact; likewise an evaluation set.

Decides: which files a bundle holds and what they are called. Leaves out: signing (`controller/keys.py`).

    artifact = pack_bundle(variant, model, inputs, outputs, evaluation_digest=digest, store=store)
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.bundle.artifacts import Artifact, ArtifactStore
from controller.bundle.golden import golden_spec
from controller.compress.variant import ENGINES_OF, Variant
from controller.errors import UnusableData, UnusableModel
from controller.models.folder import ModelFolder
from controller.models.queries import as_queries
from wire.artifact import FileEntry
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, DatasetManifest, Format
from wire.spec import Kind, bundle_files

_FORMATS: Mapping[str, Format] = {form: form for form in ENGINES_OF}


def pack_bundle(
    variant: Variant,
    model: ModelFolder,
    golden_inputs: NDArray[Any],
    golden_outputs: NDArray[Any],
    *,
    evaluation_digest: str | None,
    store: ArtifactStore,
) -> Artifact:
    """Write a variant's bundle.

    Args:
        variant: Its file is the bundle's model.
        model: Gives name, version and kind, and the files that the pipeline names.
        golden_inputs: Raw queries, synthetic, shape (n, ...), n >= 1.
        golden_outputs: Raw outputs of this variant for them, float32, shape (n, ...).
        evaluation_digest: Artifact digest of the evaluation set, if devices may have it.
        store: Where it is kept; the same bundle is kept once.
    Raises:
        UnusableModel: A format that bundles do not carry, a file of the pipeline that is missing, or golden arrays that
            do not fit each other.
        DiskFull: No room; nothing is left behind.
    """
    if variant.format not in _FORMATS:
        raise UnusableModel(f"{variant.name}: bundles carry {', '.join(_FORMATS)}, not {variant.format}")
    if len(golden_inputs) == 0 or len(golden_inputs) != len(golden_outputs):
        raise UnusableModel(f"{variant.name}: {len(golden_inputs)} golden inputs and {len(golden_outputs)} outputs")
    outputs = np.ascontiguousarray(golden_outputs, dtype=np.float32)
    golden = golden_spec(variant.precision, outputs, variant.pipeline)
    model_file = f"model.{variant.format}"
    contents = {
        model_file: variant.model_file.read_bytes(),
        golden.inputs: npy_bytes(as_queries(golden_inputs, variant.pipeline.pre.kind)),
        golden.outputs: npy_bytes(outputs),
    }
    for field, name in bundle_files(variant.pipeline).items():
        if name in contents:
            raise UnusableModel(f"{variant.name}: {field} is {name!r}, which is a file of every bundle: rename it")
        contents[name] = model.inside(name, field).read_bytes()
    manifest = BundleManifest(
        model=model.name,
        model_version=model.version,
        kind=model.answered_as,
        variant=variant.name,
        recipe=dict(variant.recipe),
        format=_FORMATS[variant.format],
        engine=variant.engine,
        engine_options=dict(variant.engine_options),
        model_file=model_file,
        pipeline=variant.pipeline,
        golden=golden,
        evaluation=evaluation_digest,
        files=file_entries(contents),
    )
    return store.add(manifest, contents)


def pack_dataset(
    name: str, kind: Kind, inputs: NDArray[Any], labels: NDArray[Any] | None, store: ArtifactStore
) -> Artifact:
    """Write an evaluation set: raw queries, stacked, and their labels where devices may know them.

    Raises:
        UnusableData: No samples, or labels of another number.
        DiskFull: No room; nothing is left behind.
    """
    if len(inputs) == 0 or (labels is not None and len(labels) != len(inputs)):
        given = "no" if labels is None else str(len(labels))
        raise UnusableData(
            f"data set {name}: {len(inputs)} inputs, {given} labels; as many of both are needed, at least one"
        )
    stored = inputs if inputs.dtype.kind in "iu" else inputs.astype(np.float32)
    contents = {"inputs.npy": npy_bytes(np.ascontiguousarray(stored))}
    if labels is not None:
        contents["labels.npy"] = npy_bytes(np.ascontiguousarray(labels))
    manifest = DatasetManifest(
        name=name,
        kind=kind,
        samples=len(inputs),
        labels="labels.npy" if labels is not None else None,
        files=file_entries(contents),
    )
    return store.add(manifest, contents)


def file_entries(contents: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """Return the entries of files, in their order."""
    return tuple(
        FileEntry(path=path, size_bytes=len(content), sha256=sha256_hex(content)) for path, content in contents.items()
    )


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Return an array as a `.npy` file; objects are refused, nothing is ever pickled."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
