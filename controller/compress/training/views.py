"""Changed samples with what the teacher says of them, made once: a teacher often costs more than its student.

Decides: that a view is a sample changed by chance, and mixed, once. Leaves out: training on them (`loop.py`).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from controller.compress.training.augment import Augment
from controller.compress.training.loop import Lessons
from controller.convert.workers.frame import Unusable

LARGEST_BYTES = 4 * 2**30
_TOGETHER = 256


def looked_at(lessons: Lessons, views: int, seed: int, at_most: int | None = None) -> Lessons:
    """Return lessons of `views` views of each sample, which do not change any more.

    Args:
        lessons: With a teacher.
        views: At least 1.
        seed: Same seed, same views.
        at_most: So many in all, of chance: more than training looks at are not made.
    Raises:
        Unusable: There is no teacher, or the views take more memory than they may.
    """
    if lessons.teacher is None:
        raise Unusable("views are kept for a teacher's sake, and there is none: set views to 0")
    count = min(at_most or views * len(lessons.inputs), views * len(lessons.inputs))
    if (size := lessons.inputs[:1].size * 4 * count) > LARGEST_BYTES:
        raise Unusable(f"{count} views take {size / 2**30:.1f} GiB of memory; take fewer, or 0 for fresh ones")
    random = torch.Generator().manual_seed(seed)
    parts: list[tuple[Any, Any, Any]] = []
    with torch.no_grad():
        orders = [torch.randperm(len(lessons.inputs), generator=random) for _ in range(views)]
        for rows in torch.cat(orders)[:count].split(_TOGETHER):
            inputs, targets = lessons.batch(rows, random)
            parts.append((inputs, targets, lessons.teacher(inputs)[0]))
    inputs, known = (np.concatenate([part[place].numpy() for part in parts]) for place in (0, 2))
    targets = None if lessons.targets is None else torch.cat([part[1] for part in parts])
    return replace(lessons, inputs=inputs, targets=targets, known=torch.from_numpy(known), augment=Augment())
