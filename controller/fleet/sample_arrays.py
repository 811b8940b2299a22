"""Captured samples as arrays in one `.npz`, for whoever labels them.

Decides: which samples go together: one shape, one kind of answer; those that most have. Leaves out: labels, which only
people can give. Samples come from devices: nothing is unpickled, and no header is believed about sizes.
"""

import io
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.bundle.atomic import disk_full, means_no_room
from controller.errors import ConfigurationError, UnusableData
from controller.fleet.samples import KeptSample
from wire.errors import WireError
from wire.sample import Sample, payload_of, unpack


@dataclass(frozen=True)
class Export:
    """What was written: samples and the shape of each, and how many files did not fit in with them."""

    samples: int
    shape: tuple[int, ...]
    left_out: int


def export(kept: Sequence[KeptSample], path: Path) -> Export:
    """Write `x`, `predicted`, `confidence`, `device` and `at_s`, one row a sample, oldest first.

    predicted: int64 (n,), the best class, or float64 (n, k), a regression's values. confidence: float64 (n,), NaN for a
    regression. Times: seconds since 1970.

    Raises:
        UnusableData: None of them can be read.
        ConfigurationError: `path` is there already.
        DiskFull: No room.
    """
    if path.exists():
        raise ConfigurationError(f"{path} is there already: name another file")
    read = [found for each in kept if (found := _read(each.path)) is not None]
    if not read:
        raise UnusableData("no captured sample can be exported: see `controller sample list`")
    commonest = Counter(_likeness(*each) for each in read).most_common(1)[0][0]
    chosen = sorted((each for each in read if _likeness(*each) == commonest), key=lambda each: each[0].at_s)
    _write(path, _columns(chosen))
    return Export(len(chosen), tuple(chosen[0][1].shape), len(kept) - len(chosen))


def array_of(sample: Sample) -> NDArray[Any]:
    """Return what was asked.

    Raises:
        WireError: Not base64.
        ValueError: Not numbers of one shape, or fewer or more than it says.
    """
    payload = payload_of(sample)
    if sample.encoding == "json":
        array = np.asarray(json.loads(payload), dtype=np.float64)
    elif sample.encoding == "npy":
        array = _npy(payload)
    else:
        array = np.frombuffer(payload, np.dtype(sample.dtype)).reshape(sample.shape)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"dtype {array.dtype} is no number")
    return array


def _npy(payload: bytes) -> NDArray[Any]:
    stream = io.BytesIO(payload)
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    # A header may claim any shape, and numpy makes room for it before it reads.
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > len(payload):
        raise ValueError(f"{len(payload)} bytes are not {dtype} of shape {shape}")
    stream.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _read(path: Path) -> tuple[Sample, NDArray[Any]] | None:
    try:
        sample = unpack(path.read_bytes())
        array = array_of(sample)
        _answer(sample)
        return sample, array
    except (OSError, WireError, ValueError, TypeError, SyntaxError, RecursionError, EOFError):
        return None  # counted as left out: one bad file must not cost the others


def _answer(sample: Sample) -> tuple[list[int], list[float]]:
    classes = [int(each) for each in sample.answer.get("classes") or ()]
    values = [float("nan") if each is None else float(each) for each in sample.answer.get("values") or ()]
    return classes, values


def _likeness(sample: Sample, array: NDArray[Any]) -> tuple[object, ...]:
    classes, values = _answer(sample)
    return array.shape, len(values) if not classes else "classes"


def _columns(chosen: Sequence[tuple[Sample, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    answers = [_answer(sample) for sample, _ in chosen]
    classified = bool(answers[0][0])
    nan = float("nan")
    return {
        "x": np.stack([array for _, array in chosen]),
        "predicted": np.array([classes[0] if classified else values for classes, values in answers]),
        "confidence": np.array([values[0] if classified and values else nan for _, values in answers]),
        "device": np.array([sample.device for sample, _ in chosen]),
        "at_s": np.array([sample.at_s for sample, _ in chosen]),
    }


def _write(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as out:
            np.savez_compressed(out, **columns)  # type: ignore[arg-type]
        os.replace(partial, path)
    except OSError as exc:
        if means_no_room(exc):
            raise disk_full(path.parent) from exc
        raise ConfigurationError(f"{path} cannot be written ({exc.strerror}): name another file") from exc
    finally:
        partial.unlink(missing_ok=True)
