"""The arrays in the folders of bundles and data sets. Pickles are refused; nothing outside of the folder is read."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle
from agent.inference.bundle import Bundle, confined, manifest_bytes
from wire.artifact import MANIFEST_PATH
from wire.manifest import DatasetManifest


def golden_inputs(bundle: Bundle) -> NDArray[Any]:
    """Return the bundle's golden queries, shape (samples, …).

    Raises:
        BadBundle: The file is missing or no array.
    """
    return load_array(bundle.root, bundle.manifest.golden.inputs)


def golden_outputs(bundle: Bundle) -> NDArray[Any]:
    """Return the raw outputs that are expected of the bundle, float32, shape (samples, …).

    Raises:
        BadBundle: The file is missing or no array.
    """
    return load_array(bundle.root, bundle.manifest.golden.outputs)


def open_dataset(folder: Path) -> tuple[DatasetManifest, NDArray[Any]]:
    """Return an evaluation set's manifest and its queries (mapped, not read).

    Raises:
        NotFound: No folder, or no manifest in it.
        BadBundle: Not a data set, or its array is not what the manifest says.
    """
    try:
        manifest = DatasetManifest.model_validate_json(manifest_bytes(folder))
    except ValueError as exc:
        raise BadBundle(f"{folder / MANIFEST_PATH} is no data set's manifest: {exc}") from exc
    inputs = load_array(folder, manifest.inputs, mapped=True)
    if len(inputs) != manifest.samples:
        raise BadBundle(f"{folder / manifest.inputs} holds {len(inputs)} samples, its manifest says {manifest.samples}")
    return manifest, inputs


def load_array(root: Path, path: str, mapped: bool = False) -> NDArray[Any]:
    """Return the array in the `.npy` file `path` under `root`.

    Args:
        root: Folder that is not left.
        path: Relative to `root`.
        mapped: Leave it on disk and read what is used.
    Raises:
        BadBundle: Outside of the folder, missing, or not an array of numbers with a first axis.
    """
    file = confined(root, path)
    try:
        array = np.load(file, allow_pickle=False, mmap_mode="r" if mapped else None)
    except (OSError, ValueError, EOFError) as exc:
        raise BadBundle(f"{file} is no readable .npy file: {exc}") from exc
    if not isinstance(array, np.ndarray) or array.ndim < 1:
        raise BadBundle(f"{file} holds no stacked samples: expected an array with a first axis")
    return array
