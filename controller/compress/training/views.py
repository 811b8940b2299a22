"""Changed samples with what the teacher says of them, made once: a teacher often costs more than its student.

Decides: that a view is a sample changed by chance, and mixed, once; how views lie in a folder, so that many students
learn from the same ones. Leaves out: training on them (`loop.py`).

What `run_worker` starts in the environment `torch`. Order: that of `lessons.py` with `views`, `count`, `seed`,
`threads` and `folder`, which gets `inputs.npy`, `known.npy` and, where there are targets, `targets.npy`. Result:
`views`, how many there are.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from controller.compress.training.augment import Augment
from controller.compress.training.lessons import lessons_of, teacher_of
from controller.compress.training.loop import Lessons
from controller.convert.workers.frame import Unusable, carry_out

INPUTS, KNOWN, TARGETS = "inputs.npy", "known.npy", "targets.npy"
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


def look(order: Mapping[str, Any]) -> dict[str, Any]:
    """Write the views that an order asks for.

    Raises:
        Unusable: There is no teacher, or the views take more memory than they may.
    """
    torch.set_num_threads(order["threads"])
    lessons, folder = looked_at(lessons_of(order), order["views"], order["seed"], order["count"]), Path(order["folder"])
    np.save(folder / INPUTS, lessons.inputs)
    for name, values in ((KNOWN, lessons.known), (TARGETS, lessons.targets)):
        if values is not None:
            np.save(folder / name, values.numpy())
    return {"views": len(lessons.inputs)}


def kept(folder: Path, order: Mapping[str, Any]) -> Lessons:
    """Return the lessons that `look` wrote, with the order's teacher; inputs stay in their file until they are read."""
    inputs = np.load(folder / INPUTS, mmap_mode="r", allow_pickle=False)
    known = torch.from_numpy(np.load(folder / KNOWN, allow_pickle=False))
    path = folder / TARGETS
    targets = torch.from_numpy(np.load(path, allow_pickle=False)) if path.is_file() else None
    return Lessons(inputs, targets, teacher_of(order), Augment(), known)


if __name__ == "__main__":
    sys.exit(carry_out(look, sys.argv))
