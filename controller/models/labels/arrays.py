"""Labels as arrays: how those of each kind are given, and the one form in which they are kept.

| kind | given | kept |
|---|---|---|
| classification | `labels` (n,), class numbers | int64 (n,) |
| regression | `labels` (n,) or (n, k), in the target's unit | float32 (n, k) |
| anomaly | `labels` (n,), 0 normal and 1 anomalous | int64 (n,) |
| segmentation | `masks` (n, rows, columns), class numbers, -1 where nothing is known | int16 (n, rows, columns) |
| sequence | `tokens` (n, length), token numbers, -1 behind the end | int64 (n, length) |
| detection | `boxes` (n, most, 4) in the query's pixels, `classes` (n, most), -1: no box | float32 (n, most, 5) |
| embedding | none | float32 (n, 0) |

Leaves out: whether they fit the model (`check.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from controller.models.labels.kinds import ARRAYS, CLASSES_OF_BOXES, ModelKind

Labels = NDArray[Any]
NEEDED: tuple[ModelKind, ...] = ("classification", "regression")
"""Kinds whose samples always have labels; samples of the others may be there to calibrate with alone."""
SIDES, BOX_COLUMNS = 4, 5
NO_CLASS = -1


def unlabelled(count: int) -> Labels:
    """Return the labels of samples of which nothing is known."""
    return np.zeros((count, 0), np.float32)


def are_known(kind: ModelKind, labels: Labels) -> bool:
    """Return whether a metric can judge by these labels; an embedding is judged by the baseline's."""
    return kind == "embedding" or labels.size > 0 or labels.ndim != 2 or kind in NEEDED


def found_in(arrays: Mapping[str, Any], kind: ModelKind, named: str) -> Any:
    """Return the labels that an `.npz` holds, as given; None where it has none and the kind can be without.

    Args:
        arrays: Of the file.
        kind: Of the model.
        named: The array that model.yaml names, or its default.
    Raises:
        KeyError: The array that is missing.
    """
    if kind == "embedding":
        return None
    name = named if named in arrays else ARRAYS[kind]
    if name not in arrays:
        if kind in NEEDED:
            raise KeyError(named)
        return None
    if kind != "detection" or arrays[name].shape[-1:] == (BOX_COLUMNS,):
        return arrays[name]
    if CLASSES_OF_BOXES not in arrays:
        raise KeyError(CLASSES_OF_BOXES)
    return arrays[name], arrays[CLASSES_OF_BOXES]


def as_labels(kind: ModelKind, given: Any, count: int, where: str) -> Labels:
    """Return labels in the form in which they are kept.

    Args:
        kind: Of the model.
        given: As the user gave them; None where nothing is known.
        count: How many samples there are.
        where: Names the source in messages.
    Raises:
        UnusableData: Another form; expected and given shape are named.
        ValueError: No numbers.
    """
    nothing = isinstance(given, np.ndarray) and given.shape == (count, 0)
    if kind == "embedding" or given is None or nothing:
        return unlabelled(count)
    return _FORMS[kind](given, where)


def _classes(given: Any, where: str) -> NDArray[np.int64]:
    labels = np.asarray(given)
    if labels.ndim == 0 or labels.size != len(labels):
        one_hot = labels.ndim == 2 and len(labels) and set(np.unique(labels)) <= {0, 1}
        hint = "; of one-hot labels, numpy.argmax(labels, axis=1) makes them" if one_hot else ""
        raise UnusableData(f"{where}: labels have shape {labels.shape}; each sample needs one class number{hint}")
    flat = labels.reshape(-1)
    if flat.dtype.kind == "f" and not (np.isfinite(flat) & (flat == np.floor(flat))).all():
        raise UnusableData(f"{where}: class labels must be whole numbers")
    return flat.astype(np.int64)


def _columns(given: Any, _where: str) -> NDArray[np.float32]:
    labels = np.asarray(given)
    return labels.astype(np.float32).reshape(len(labels), -1) if len(labels) else np.zeros((0, 1), np.float32)


def _masks(given: Any, where: str) -> NDArray[np.int16]:
    masks = _whole(given, "masks", where)
    if masks.ndim == 4 and masks.shape[-1] == 1:
        masks = masks[..., 0]
    if masks.ndim != 3:
        raise UnusableData(f"{where}: masks have shape {masks.shape}; (n, rows, columns) of class numbers is needed")
    return np.asarray(np.clip(masks, NO_CLASS, np.iinfo(np.int16).max), dtype=np.int16)


def _tokens(given: Any, where: str) -> NDArray[np.int64]:
    tokens = _whole(given, "tokens", where)
    if tokens.ndim != 2:
        raise UnusableData(f"{where}: tokens have shape {tokens.shape}; (n, length) of token numbers is needed")
    return np.asarray(np.maximum(tokens, NO_CLASS), dtype=np.int64)


def _boxes(given: Any, where: str) -> NDArray[np.float32]:
    """Put sides and classes beside each other."""
    boxes, classes = given if isinstance(given, tuple | list) and len(given) == 2 else (given, None)
    boxes = np.asarray(boxes, dtype=np.float32)
    if classes is not None:
        numbers = _whole(classes, "classes", where)
        if boxes.ndim != 3 or boxes.shape[2] != SIDES or numbers.shape != boxes.shape[:2]:
            raise UnusableData(
                f"{where}: boxes have shape {boxes.shape} and classes {numbers.shape}; (n, most, 4), left, top, right, "
                f"bottom, and (n, most) are needed, with class -1 where there is no box"
            )
        boxes = np.concatenate([boxes, numbers[..., np.newaxis].astype(np.float32)], axis=2)
    if boxes.ndim != 3 or boxes.shape[2] != BOX_COLUMNS:
        raise UnusableData(
            f"{where}: boxes have shape {boxes.shape}; (n, most, 5) is needed, left, top, right, bottom and class, or "
            f"boxes (n, most, 4) and classes (n, most)"
        )
    return boxes


def _whole(given: Any, what: str, where: str) -> NDArray[Any]:
    array = np.asarray(given)
    if array.dtype.kind not in "iub" and not (
        array.dtype.kind == "f" and (np.isfinite(array) & (array == np.floor(array))).all()
    ):
        raise UnusableData(f"{where}: {what} must be whole numbers, given {array.dtype}")
    return array


_FORMS: Mapping[ModelKind, Callable[[Any, str], Labels]] = {
    "classification": _classes,
    "anomaly": _classes,
    "regression": _columns,
    "segmentation": _masks,
    "sequence": _tokens,
    "detection": _boxes,
}
