"""Pictures of 720 rows into a model's input, against OpenCV and Pillow, single thread.

Decides: what is compared. Ours is the whole `prepare` of a query. Peers subtract the mean inside `blobFromImage` and
divide its result in place; the newer `blobFromImageWithParams` does both and pads for letterbox: the faster of the two
counts. For int8 both peers' floats are quantised by numpy, which is all that a user has.

Peers allocate their results, we do not, and what that costs depends on glibc: a fresh process gives large blocks back
and gets them again page by page, one that has freed still larger blocks keeps them. So each setting is measured twice,
in a fresh child (as a script has it), and in one whose allocator is told to keep its memory (as a process may have it
that has run for a while); there OpenCV's resize alone takes half of its time.

    python -m benchmarks.kernel_parts.image 224 stretch int8 30      prints the times of one setting [s]
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Claim, child_environment, not_measured, repository
from benchmarks.kernel_parts.timing import Call, Profile, held, interleaved, memory_calls, timed
from wire import spec

BLOB_GOAL, NUMPY_GOAL, ALONE_GOAL = 2.5, 7.0, 1.0
ROWS, COLUMNS = 720, 1280
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STEP, ZERO_POINT = 0.02, -14
"""Quantisation of the int8 models: about the range of normalised pixels."""
PAD = 114
KEPT = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
"""What makes glibc keep memory that was freed."""
CHILD_TIMEOUT_S = 300

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Setting:
    """One way into a model."""

    size: int
    fit: Any
    dtype: Any

    @property
    def name(self) -> str:
        return f"{ROWS}p to {self.size}, {self.fit}, {self.dtype}"

    @property
    def content_rows(self) -> int:
        return self.size * ROWS // COLUMNS if self.fit == "letterbox" else self.size


SETTINGS = tuple(
    Setting(size, fit, dtype)
    for size in (224, 640)
    for fit in ("stretch", "letterbox")
    for dtype in ("float32", "int8")
)


def claims(quick: bool) -> list[Claim]:
    """Return the claims; without OpenCV or Pillow theirs are unmeasured."""
    rounds = 5 if quick else 30
    found: list[Claim] = []
    for setting in SETTINGS:
        for more, environment in (("", {}), (", memory kept", KEPT)):
            found += against_opencv(setting, more, environment, rounds)
    query = photograph()
    for size in (224, 640):
        found += resizing_alone(size, query, rounds)
    return found


def against_opencv(setting: Setting, more: str, environment: dict[str, str], rounds: int) -> list[Claim]:
    """Return two claims: blobFromImage plus scaling, and OpenCV plus numpy."""
    names = [f"{setting.name}{more}, against {peer}" for peer in ("blobFromImage plus scaling", "OpenCV plus numpy")]
    goals = (BLOB_GOAL, NUMPY_GOAL)
    if importlib.util.find_spec("cv2") is None:
        return [
            not_measured(name, "x", f">= {goal:g}", "OpenCV is not installed")
            for name, goal in zip(names, goals, strict=True)
        ]
    times = in_a_child(setting, environment, rounds)
    parts = {"resizing": times["fill"], "normalising and laying out": max(times["own"] - times["fill"], 0.0)}
    profile = Profile(parts, {"reading the rows that count": times["read"], "filling the input": times["write"]})
    differ = f"results differ by {times['differ']:.2g} at most"
    return [
        held(name, (times["own"], times[peer]), goal, differ, profile)
        for name, goal, peer in zip(names, goals, ("blob", "numpy"), strict=True)
    ]


def in_a_child(setting: Setting, environment: dict[str, str], rounds: int) -> dict[str, float]:
    """Return the times [s] that a fresh process measures, and by how much results differ."""
    arguments = (setting.size, setting.fit, setting.dtype, rounds)
    command = [sys.executable, "-m", "benchmarks.kernel_parts.image", *map(str, arguments)]
    # The caller's environment has the kernels' folder and one thread for every library.
    surroundings = {**os.environ, **child_environment(), **environment}
    ended = subprocess.run(
        command, env=surroundings, cwd=repository(), capture_output=True, check=True, timeout=CHILD_TIMEOUT_S
    )
    times: dict[str, float] = json.loads(ended.stdout)
    return times


def measure_setting(setting: Setting, rounds: int) -> dict[str, float]:
    """Return the times of one setting [s]: calls take turns. `read` is that of the rows that bilinear pixels lie in."""
    query = photograph()
    ours, by_numpy = prepared_call(setting, query), numpy_call(setting, query)
    older, newer = blob_calls(setting, query)
    fill = fill_call(setting, {}, query)[0]
    rows = query[: min(2 * setting.content_rows, ROWS)]
    calls = [timed(call) for call in (ours, by_numpy, older, newer, fill)] + memory_calls(rows, ours())
    own_s, numpy_s, older_s, newer_s, fill_s, read_s, write_s = interleaved(calls, rounds)
    given = ours().astype(np.float64)
    differ = max(float(np.abs(given - peer()).max()) for peer in (by_numpy, older, newer))
    peers = {"numpy": numpy_s, "blob": min(older_s, newer_s)}
    return {"own": own_s, **peers, "fill": fill_s, "read": read_s, "write": write_s, "differ": differ}


def resizing_alone(size: int, query: Bytes, rounds: int) -> list[Claim]:
    """Return three claims: our resizing into planes of 8 bits against the libraries' into pixels of 8 bits."""
    found = []
    for fields, name, peer in resizers(size, query):
        label = f"resizing alone, {ROWS}p to {size}, {name}"
        if peer is None:
            found.append(not_measured(label, "x", f">= {ALONE_GOAL:g}", "it is not installed"))
            continue
        ours, planes = fill_call(Setting(size, "stretch", "float32"), fields, query)
        own_s, peer_s, *memory_s = interleaved([timed(ours), timed(peer), *memory_calls(query, planes)], rounds)
        ours()
        difference = np.abs(planes.transpose(1, 2, 0).astype(int) - peer()).max()
        profile = Profile({"resizing": own_s}, dict(zip(("reading", "writing"), memory_s, strict=True)))
        differ = f"results differ by {difference:.2g} at most"
        found.append(held(label, (own_s, peer_s), ALONE_GOAL, differ, profile))
    return found


def photograph() -> Bytes:
    """Return something like a photograph: slopes, edges, noise. Row by row: no large block is ever freed."""
    random, across = np.random.default_rng(5), np.arange(COLUMNS)
    pixels = np.empty((ROWS, COLUMNS, 3), dtype=np.uint8)
    for row in range(ROWS):
        slopes = np.stack([across / 5, across * 0 + row / 3, (across + row) / 8], axis=1)
        edges = 60 * ((across // 64 + row // 48) % 2)[:, np.newaxis]
        pixels[row] = np.clip(slopes % 180 + edges + random.normal(0, 6, (COLUMNS, 3)), 0, 255)
    return pixels


def image_pre(setting: Setting, **fields: Any) -> spec.ImagePre:
    affine = spec.Quantisation(scale=STEP, zero_point=ZERO_POINT) if setting.dtype == "int8" else None
    shape = (-1, 3, setting.size, setting.size)
    tensor = spec.TensorSpec(name="x", shape=shape, dtype=setting.dtype, quantisation=affine)
    normal = {"mean": MEAN, "deviation": DEVIATION, "query_colour": "bgr", "pad_value": PAD}
    return spec.ImagePre(height=setting.size, width=setting.size, fit=setting.fit, input=tensor, **{**normal, **fields})


def prepared_call(setting: Setting, query: Bytes) -> Call:
    """Return the call that brings `query` into the model's input, as a worker does."""
    from agent.inference.pre import Place, make_pre

    made = make_pre(image_pre(setting), Place({"x": (-1, 3, setting.size, setting.size)}))
    return lambda: made.prepare(query)


def fill_call(setting: Setting, fields: dict[str, Any], query: Bytes) -> tuple[Call, Bytes]:
    """Return the call that resizes alone, and the planes that it fills."""
    from agent.inference.kernels.image.placement import place_picture
    from agent.inference.kernels.image.resizer import make_fill

    planes = np.zeros((3, setting.content_rows, setting.size), dtype=np.uint8)
    pre = image_pre(setting, **fields)
    fill, flat = make_fill(pre, place_picture(pre, ROWS, COLUMNS), 3, planes), query.reshape(-1)
    return lambda: fill(flat), planes


def resizers(size: int, query: Bytes) -> list[tuple[dict[str, Any], str, Call | None]]:
    """Return (our keys, peer's name, peer or None where it is missing)."""
    linear = area = antialias = None
    if importlib.util.find_spec("cv2") is not None:
        import cv2

        cv2.setNumThreads(1)
        shape = (size, size)
        linear, area = (
            lambda: cv2.resize(query, shape, interpolation=cv2.INTER_LINEAR),
            lambda: cv2.resize(query, shape, interpolation=cv2.INTER_AREA),
        )
    if importlib.util.find_spec("PIL") is not None:
        from PIL import Image

        picture = Image.fromarray(query)
        antialias = lambda: np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))  # noqa: E731
    return [
        ({}, "bilinear, against cv2.resize", linear),
        ({"interpolation": "area"}, "area, against cv2.resize", area),
        ({"antialias": True}, "antialias, against Pillow", antialias),
    ]


def shaped(setting: Setting, query: Bytes) -> Bytes:
    """Return the picture at the model's size, as OpenCV does it."""
    import cv2

    rows = setting.content_rows
    small = cv2.resize(query, (setting.size, rows), interpolation=cv2.INTER_LINEAR)
    if rows < setting.size:
        above = (setting.size - rows) // 2
        border = (above, setting.size - rows - above, 0, 0)
        small = cv2.copyMakeBorder(small, *border, cv2.BORDER_CONSTANT, value=(PAD, PAD, PAD))
    return np.asarray(small, dtype=np.uint8)


def numpy_call(setting: Setting, query: Bytes) -> Call:
    """Return what most scripts do: resize, change colours, then whole arrays in numpy."""
    import cv2

    mean, deviation = np.array(MEAN, dtype=np.float32), np.array(DEVIATION, dtype=np.float32)

    def call() -> Any:
        pixels = cv2.cvtColor(shaped(setting, query), cv2.COLOR_BGR2RGB)
        values = (pixels.astype(np.float32) / np.float32(255) - mean) / deviation
        return quantised(setting, np.ascontiguousarray(values.transpose(2, 0, 1)[np.newaxis]))

    return call


def blob_calls(setting: Setting, query: Bytes) -> list[Call]:
    """Return OpenCV's own pre-processing for networks: the older form plus scaling, and the newer form."""
    import cv2

    cv2.setNumThreads(1)
    mean = tuple(255 * number for number in MEAN)
    inverse = np.array([1 / number for number in DEVIATION], dtype=np.float32).reshape(1, 3, 1, 1)
    size = (setting.size, setting.size)
    parameters = cv2.dnn.Image2BlobParams()
    parameters.scalefactor = (*(1 / 255 / number for number in DEVIATION), 1.0)
    parameters.size, parameters.mean, parameters.swapRB = size, (*mean, 0.0), True
    if setting.fit == "letterbox":
        parameters.paddingmode, parameters.borderValue = cv2.dnn.DNN_PMODE_LETTERBOX, (PAD, PAD, PAD, 0)

    def older() -> Any:
        pixels = shaped(setting, query) if setting.fit == "letterbox" else query
        blob: Any = cv2.dnn.blobFromImage(pixels, 1 / 255, size, mean, swapRB=True)
        blob *= inverse
        return quantised(setting, blob)

    def newer() -> Any:
        return quantised(setting, cv2.dnn.blobFromImageWithParams(query, parameters))

    return [older, newer]


def quantised(setting: Setting, values: Any) -> Any:
    if setting.dtype != "int8":
        return values
    return np.clip(np.rint(values / np.float32(STEP)) + ZERO_POINT, -128, 127).astype(np.int8)


if __name__ == "__main__":
    size, fit, dtype, rounds = sys.argv[1:]
    print(json.dumps(measure_setting(Setting(int(size), fit, dtype), int(rounds))))
