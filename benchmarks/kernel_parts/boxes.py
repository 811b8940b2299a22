"""Suppression of boxes against OpenCV and torchvision; whole heads and maps against plain numpy. Single thread.

Decides: what is compared. Suppression goes from boxes and scores as a model gives them to the numbers of those that
stay: for ours that is sorting, bringing the boxes into order, and suppressing. All boxes are of one class, the dearest
case. torchvision runs in the interpreter that THRESHER_TORCHVISION_PYTHON names, on the same boxes, its calls in turn
with ours (`torchvision_child.py`).
"""

import importlib
import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Claim, not_measured
from benchmarks.kernel_parts.timing import Call, Profile, Timed, held, interleaved, timed
from wire import spec

Floats = NDArray[np.float32]

OPENCV_GOAL, TORCHVISION_GOAL = 5.0, 3.0
TORCHVISION_PYTHON = "THRESHER_TORCHVISION_PYTHON"
BOXES, THRESHOLD = 1000, 0.5
ANCHORS, CLASSES = 8400, 80
MAP = (21, 520, 520)


@dataclass(frozen=True)
class Scene:
    """Where 1,000 boxes lie in 640 x 640 pixels."""

    name: str
    objects: int
    """Around each of which the boxes lie."""
    jitter: float
    """[pixels]"""

    def boxes(self) -> tuple[Floats, Floats]:
        """Return left, top, right, bottom (n, 4) and scores (n,), all different."""
        random = np.random.default_rng(5)
        centres = random.uniform(40, 600, (self.objects, 2))[random.integers(0, self.objects, BOXES)]
        sizes = random.uniform(20, 80, (self.objects, 2))[random.integers(0, self.objects, BOXES)]
        centres, sizes = (
            centres + random.normal(0, self.jitter, (BOXES, 2)),
            sizes * random.uniform(0.8, 1.2, (BOXES, 2)),
        )
        scores = random.permutation(np.linspace(0.26, 0.99, BOXES)).astype(np.float32)
        return np.hstack([centres - sizes / 2, centres + sizes / 2]).astype(np.float32), scores


SCENES = (Scene("scattered", BOXES, 0.0), Scene("around 100 objects", 100, 4.0), Scene("around 10 objects", 10, 6.0))


def claims(quick: bool) -> list[Claim]:
    """Return the claims; peers that are not installed leave theirs unmeasured."""
    rounds = 3 if quick else 20
    found = [against_opencv(scene, rounds) for scene in SCENES]
    found += [against_torchvision(scene, rounds) for scene in SCENES]
    return [*found, whole_head(rounds), whole_map(rounds)]


def against_opencv(scene: Scene, rounds: int) -> Claim:
    """Return the claim on `cv2.dnn.NMSBoxes`."""
    name = f"suppression, 1000 boxes {scene.name}, against cv2.dnn.NMSBoxes"
    if importlib.util.find_spec("cv2") is None:
        return not_measured(name, "x", f">= {OPENCV_GOAL:g}", "OpenCV is not installed")
    cv2: Any = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    boxes, scores = scene.boxes()
    sizes = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])

    def theirs() -> Any:
        return cv2.dnn.NMSBoxes(sizes, scores, 0.0, THRESHOLD)

    return suppressed(name, (boxes, scores), OPENCV_GOAL, (timed(theirs), theirs()), rounds)


def against_torchvision(scene: Scene, rounds: int) -> Claim:
    """Return the claim on `torchvision.ops.nms`."""
    name = f"suppression, 1000 boxes {scene.name}, against torchvision's nms on the CPU"
    python, goal = os.environ.get(TORCHVISION_PYTHON), f">= {TORCHVISION_GOAL:g}"
    if not python:
        why = f"{TORCHVISION_PYTHON} names no interpreter that has torchvision: it does not load beside this torch"
        return not_measured(name, "x", goal, why)
    boxes, scores = scene.boxes()
    try:
        with torchvision_child(python, boxes, scores) as (theirs, kept):
            return suppressed(name, (boxes, scores), TORCHVISION_GOAL, (theirs, kept), rounds)
    except (OSError, ValueError) as exc:
        return not_measured(name, "x", goal, f"{python}: {exc}")


def suppressed(name: str, scene: tuple[Floats, Floats], goal: float, peer: tuple[Timed, Any], rounds: int) -> Claim:
    """Return the claim on a peer: its call, and the boxes that it keeps."""
    theirs, kept = peer
    ours, steps = suppression(*scene)
    ours_s, theirs_s = interleaved([timed(ours), theirs], rounds)
    steps_s = interleaved([timed(step) for step in steps.values()], rounds)
    return held(name, (ours_s, theirs_s), goal, differ(ours(), kept), Profile(dict(zip(steps, steps_s, strict=True))))


@contextmanager
def torchvision_child(python: str, boxes: Floats, scores: Floats) -> Iterator[tuple[Timed, NDArray[np.int64]]]:
    """Start the peer in its own interpreter; yield a call that lets it run once, and the boxes that it keeps.

    Raises:
        OSError: It does not start.
        ValueError: It says something else than times.
    """
    child = Path(__file__).with_name("torchvision_child.py")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "boxes.npz", boxes=boxes, scores=scores)
        command = [python, str(child), str(Path(folder) / "boxes.npz"), str(THRESHOLD)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def run_once() -> float:
            asked.write("\n")
            asked.flush()
            return float(answers.readline())

        try:
            first = answers.readline()
            if not first:
                raise ValueError("torchvision does not load there: what it says stands above")
            yield run_once, np.array([int(number) for number in first.split()])
        finally:
            asked.close()
            process.wait(timeout=60)
            answers.close()


def suppression(boxes: Floats, scores: Floats) -> tuple[Callable[[], NDArray[np.int64]], dict[str, Call]]:
    """Return the call that sorts, orders and suppresses, in buffers that stay, and its steps."""
    from agent.inference.kernels.boxes.decode import HEADS, decode_boxes
    from agent.inference.kernels.boxes.order import group_by_class, order_by_score
    from agent.inference.kernels.boxes.suppress import single_below, suppress

    count = len(boxes)
    counters, order, group = np.array([count, 0, 0]), np.zeros(count, np.int64), np.zeros(count, np.int64)
    ordered, starts = np.zeros((4, count), np.float32), np.zeros(2, np.int64)
    ordered_scores, classes = np.zeros(count, np.float32), np.zeros(count, np.int32)
    gone = np.zeros(count, np.int32)
    room = np.zeros((5, count), np.float32), np.zeros(count, np.int32)
    spare, buckets = np.zeros(count, np.int64), np.zeros(256, np.int64)
    layout = np.array([HEADS["boxes"], 4, 1, 1, 0, count])
    anchors, factors, places = np.zeros((1, 4), np.float32), np.ones(6), np.arange(count)
    result = (ordered, ordered_scores, classes)
    limit = single_below(THRESHOLD)
    decoded = (boxes.reshape(-1), layout, anchors, factors, scores, places, order, counters, *result)
    steps: dict[str, Call] = {
        "sorting": order_by_score.bind(scores.view(np.uint32), counters, order, spare, buckets),
        "bringing into order": decode_boxes.bind(*decoded),
        "grouping": group_by_class.bind(classes, counters, 1, group, starts),
        "suppressing": suppress.bind(ordered, counters, group, starts, limit, count, *room, gone),
    }

    def call() -> NDArray[np.int64]:
        for step in steps.values():
            step()
        return np.asarray(order[gone == 0], dtype=np.int64)

    return call, steps


def whole_head(rounds: int) -> Claim:
    """Return how a whole YOLO head compares with numpy: 8400 anchors, 80 classes, about 400 candidates."""
    from agent.inference.post import Surroundings, make_post

    head = yolo_head()
    post = spec.DetectionPost(output=spec.TensorSpec(name="head", shape=head.shape), iou_threshold=THRESHOLD, most=300)
    made = make_post(post, Surroundings())
    copies = [head.copy(), head.copy()]  # an engine's output may lie elsewhere each time

    def ours() -> Any:
        copies.reverse()
        return made.finish(copies[:1])

    ours_s, theirs_s = interleaved([timed(ours), timed(lambda: head_by_numpy(head))], rounds)
    answer, wanted = ours(), head_by_numpy(head)
    same = len(answer.boxes) == len(wanted)
    difference = float(np.abs(np.array(answer.boxes) - wanted).max(initial=0.0)) if same else float("inf")
    how = (
        f"{ours_s * 1e3:.3f} ms with the answer's tuples, numpy {theirs_s * 1e3:.2f} ms; {len(wanted)} boxes, largest "
    )
    return Claim(
        "YOLO head of 8400 x 80 to boxes, against numpy",
        round(theirs_s / ours_s, 2),
        "x",
        "none",
        True,
        f"{how}difference {difference:g} pixels",
    )


def yolo_head() -> Floats:
    """Return a head (1, 84, 8400) with 40 objects, ten anchors about each."""
    random = np.random.default_rng(3)
    head = np.zeros((1, 4 + CLASSES, ANCHORS), np.float32)
    head[0, :2], head[0, 2:4] = random.uniform(0, 640, (2, ANCHORS)), random.uniform(10, 100, (2, ANCHORS))
    head[0, 4:] = random.uniform(0, 0.2, (CLASSES, ANCHORS))
    for number in range(40):
        near = random.choice(ANCHORS, 10, replace=False)
        place = np.hstack([random.uniform(50, 590, 2), random.uniform(20, 100, 2)])
        head[0, :4, near] = place + random.normal(0, 2, (10, 4))
        head[0, 4 + number, near] = random.uniform(0.3, 0.95, 10)
    return head


def head_by_numpy(head: Floats) -> NDArray[np.float64]:
    """Return what is usually written: arg max, filter, corners, and suppression class by class."""
    scores, boxes = head[0, 4:], head[0, :4]
    classes, best = scores.argmax(axis=0), scores.max(axis=0)
    found = np.flatnonzero(best > 0.25)
    found = found[np.argsort(-best[found], kind="stable")]
    x, y, w, h = boxes[:, found]
    corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    areas, kept = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]), []
    left = np.arange(len(found))
    while len(left):
        first, rest = left[0], left[1:]
        kept.append(first)
        low, high = np.maximum(corners[first, :2], corners[rest, :2]), np.minimum(corners[first, 2:], corners[rest, 2:])
        common = np.clip(high - low, 0, None).prod(axis=1)
        over = common / (areas[first] + areas[rest] - common) > THRESHOLD
        left = rest[~(over & (classes[found[rest]] == classes[found[first]]))]
    return np.asarray(corners[kept[:300]], dtype=np.float64)


def whole_map(rounds: int) -> Claim:
    """Return how the arg max of a map compares with numpy."""
    from agent.inference.kernels.boxes.masks import argmax_planes

    scores = np.random.default_rng(4).random(MAP, dtype=np.float32)
    flat, out = scores.reshape(MAP[0], -1), np.zeros(MAP[1] * MAP[2], np.uint8)
    ours = argmax_planes.bind(flat, np.zeros(4096, np.float32), np.zeros(4096, np.int32), out)
    ours_s, theirs_s = interleaved([timed(ours), timed(lambda: flat.argmax(axis=0))], rounds)
    different = int(np.count_nonzero(out != flat.argmax(axis=0)))
    how = f"{ours_s * 1e3:.2f} ms ({scores.nbytes / ours_s / 1e9:.1f} GB/s read), numpy {theirs_s * 1e3:.2f} ms"
    name = "arg max of a map of 21 x 520 x 520, against numpy"
    return Claim(name, round(theirs_s / ours_s, 2), "x", "none", True, f"{how}; {different} pixels differ")


def differ(ours: Any, theirs: Any) -> str:
    """Return how many boxes stay, and how many stay on one side alone."""
    kept, peers = set(np.asarray(ours).tolist()), set(np.asarray(theirs).reshape(-1).tolist())
    return f"{len(kept)} boxes stay, {len(kept ^ peers)} on one side alone"
