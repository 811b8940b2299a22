"""How workers tell what they did: versions, the last words of a converter, outputs as files.

Decides: the names of those files and that a converter's error is one line. Leaves out: the result itself (`frame.py`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controller.convert.workers.frame import installed_versions

LONGEST_WORDS = 600


def used_versions(*names: str) -> dict[str, str]:
    """Return the versions of the distributions called `names`, as far as they are installed."""
    installed = installed_versions()
    return {name: installed[name] for name in names if name in installed}


def last_words(exc: BaseException) -> str:
    """Return what a converter's error says, in one line."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= LONGEST_WORDS else f"{text[:LONGEST_WORDS]} …"


def write_stacked(rows: Sequence[Sequence[Any]], folder: Path, stem: str) -> list[str]:
    """Write outputs, one `.npy` for each of a model's; return the files' names.

    Args:
        rows: Per query the model's outputs, each of shape (1, …).
        folder: Gets `{stem}-0.npy`, `{stem}-1.npy` and so on, each of shape (n, …).
        stem: Whose outputs they are.
    """
    import numpy as np

    names = [f"{stem}-{index}.npy" for index in range(len(rows[0]))]
    for name, outputs in zip(names, zip(*rows, strict=True), strict=True):
        np.save(folder / name, np.concatenate(outputs).astype(np.float32), allow_pickle=False)
    return names
