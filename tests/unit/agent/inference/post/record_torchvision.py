"""Write what torchvision's suppression says of made-up boxes, for a test that has no torchvision.

    python tests/unit/agent/inference/post/record_torchvision.py      in an environment with torch and torchvision

Only numbers that float32 holds exactly go in, so that the file means the same everywhere.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

torch: Any = importlib.import_module("torch")
torchvision: Any = importlib.import_module("torchvision")
KEPT = Path(__file__).with_name("torchvision_nms.json")
CASES = ((40, 60.0, 40.0, 0.5), (120, 200.0, 90.0, 0.45), (120, 64.0, 60.0, 0.7), (60, 30.0, 30.0, 0.3))
"""Boxes, where their corners begin, how large they are at most [pixels], threshold."""


def case(seed: int, count: int, spread: float, largest: float, threshold: float) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, spread, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(0, largest, (count, 2))], axis=1)
    boxes = (np.round(boxes * 4) / 4).astype(np.float32)  # quarters of pixels
    boxes[count // 2] = boxes[0]  # one twice
    scores = (random.integers(1, 33, count) / 32).astype(np.float32)  # ties are common
    classes = random.integers(0, 3, count)
    order = np.argsort(-scores, kind="stable")  # torchvision's own sort is not stable: ties would be its secret
    boxes, scores, classes = boxes[order], scores[order], classes[order]
    falling = torch.arange(count, 0, -1, dtype=torch.float32)
    given = torch.from_numpy(boxes)
    return {
        "threshold": threshold,
        "boxes": boxes.tolist(),
        "scores": scores.tolist(),
        "classes": classes.tolist(),
        "nms": torchvision.ops.nms(given, falling, threshold).tolist(),
        "batched_nms": torchvision.ops.batched_nms(given, falling, torch.from_numpy(classes), threshold).tolist(),
    }


if __name__ == "__main__":
    cases = [case(seed, *sizes) for seed, sizes in enumerate(CASES)]
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    KEPT.write_text(json.dumps({"versions": versions, "cases": cases}, separators=(",", ":")) + "\n")
