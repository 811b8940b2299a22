"""Suppression against what others give: torchvision's answers as recorded, OpenCV's where it is installed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.agent.inference.post.box_kit import Suppression, some_boxes

RECORDED = json.loads(Path(__file__).with_name("torchvision_nms.json").read_bytes())["cases"]
"""Of `record_torchvision.py`."""


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{len(case['boxes'])}-{case['threshold']}")
@pytest.mark.parametrize(("rule", "agnostic"), [("nms", True), ("batched_nms", False)])
def test_the_same_boxes_stay_as_with_torchvision(case: dict[str, Any], rule: str, agnostic: bool) -> None:
    boxes = np.ascontiguousarray(np.array(case["boxes"], dtype=np.float32).T)
    suppression = Suppression(boxes, np.array(case["classes"], dtype=np.int32), agnostic=agnostic)
    kept = suppression.kept(case["threshold"])
    assert kept == case[rule]
    assert len(kept) < len(case["boxes"])


@pytest.mark.parametrize(("count", "spread", "largest"), [(50, 60.0, 40.0), (400, 640.0, 200.0), (400, 100.0, 90.0)])
def test_the_same_boxes_stay_as_with_opencv(count: int, spread: float, largest: float) -> None:
    cv2 = pytest.importorskip("cv2")
    boxes, classes = some_boxes(count, count, spread, largest)
    boxes = np.round(boxes)  # OpenCV computes in another order: whole pixels have the same overlap in both
    sizes = np.concatenate([boxes[:2], boxes[2:] - boxes[:2]]).T
    falling = np.linspace(1, 0.5, count, dtype=np.float32)
    wanted = cv2.dnn.NMSBoxes(sizes.tolist(), falling.tolist(), 0.0, 0.45)
    assert Suppression(boxes, classes, agnostic=True).kept(0.45) == np.asarray(wanted).reshape(-1).tolist()
