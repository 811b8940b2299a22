"""torchvision's suppression in an interpreter of its own: one timed call for each line that comes in.

    PYTHON torchvision_child.py BOXES.npz THRESHOLD

Prints the numbers of the boxes that stay, then for each line of its input the processor time of one call [s]. Imports
nothing of this project: its interpreter need not have it.
"""

import importlib
import sys
import time
from typing import Any

import numpy as np


def main(path: str, threshold: float) -> None:
    """Answer until the input ends."""
    torch: Any = importlib.import_module("torch")
    ops: Any = importlib.import_module("torchvision.ops")
    torch.set_num_threads(1)
    arrays = np.load(path)
    boxes, scores = torch.from_numpy(arrays["boxes"]), torch.from_numpy(arrays["scores"])
    print(*ops.nms(boxes, scores, threshold).tolist(), flush=True)
    for _ in sys.stdin:
        start = time.thread_time()
        ops.nms(boxes, scores, threshold)
        print(time.thread_time() - start, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
