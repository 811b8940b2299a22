"""Keep all kernels as machine code, once, when the agent is installed: an object, and where it can be linked a library.

Decides: what lies in the kernels' folder, and that it is never half there. `kernels.so` is made by the system's linker;
`kernels.o` is what llvmlite loads on a device without one; `kernels.sha256` holds their digests, in the form that
`sha256sum --check` reads: machine code that a worn card has changed must not run. Leaves out: when (`agent/warm.py`),
how the code is made (`emit.py`) and loaded (`native.py`).
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from agent.errors import EngineFailed
from agent.inference.kept import DIGESTS_NAME, LIBRARY_NAME, OBJECT_NAME
from agent.inference.kernels import cast, classify, series, table
from agent.inference.kernels.audio import features
from agent.inference.kernels.boxes import decode, masks, order, scores, suppress
from agent.inference.kernels.compiled import KERNELS
from agent.inference.kernels.emit import object_code
from agent.inference.kernels.image import bilinear, copied, layout, weighted
from agent.inference.kernels.windows import blocks, ring, sliding, statistics

SOURCES = (
    cast,
    classify,
    series,
    table,
    bilinear,
    copied,
    layout,
    weighted,
    decode,
    masks,
    order,
    scores,
    suppress,
    features,
    blocks,
    ring,
    sliding,
    statistics,
)
"""Importing them registers their kernels."""

LINKERS = (("cc", "-shared", "-lm"), ("gcc", "-shared", "-lm"), ("clang", "-shared", "-lm"), ("ld", "-shared", "-lm"))
LINK_TIMEOUT_S = 60
FILE_MODE, FOLDER_MODE = 0o644, 0o755
"""Workers may run as another user: they read, and never write."""


def keep_kernels(folder: Path) -> str:
    """Compile all kernels into `folder`; return why there is no library, or "" where there is one.

    What lay there is replaced file by file, the digests last: until then the older digests refuse the new files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work, refused = Path(name), ""
        try:
            (work / OBJECT_NAME).write_bytes(object_code(kernel for _, kernel in sorted(KERNELS.items())))
            link(work / OBJECT_NAME, work / LIBRARY_NAME)
        except EngineFailed as exc:
            refused = str(exc)
        _replace(work, folder)
    return refused


def _replace(work: Path, folder: Path) -> None:
    """Move what was made from `work` into `folder`; what was not made is not left there either."""
    lines = []
    for name in (OBJECT_NAME, LIBRARY_NAME):
        if (work / name).exists():
            lines.append(f"{hashlib.sha256((work / name).read_bytes()).hexdigest()}  {name}\n")
            (work / name).chmod(FILE_MODE)
            os.replace(work / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    (work / DIGESTS_NAME).write_text("".join(lines))
    (work / DIGESTS_NAME).chmod(FILE_MODE)
    os.replace(work / DIGESTS_NAME, folder / DIGESTS_NAME)


def link(compiled: Path, linked: Path) -> None:
    """Make a shared library of an object by the first linker that can.

    Raises:
        EngineFailed: No linker, or all refuse.
    """
    refusals = []
    for command, *options in LINKERS:
        found = shutil.which(command)
        if found is None:
            continue
        # Options stand behind the object: a library named before its users is dropped.
        arguments = [found, "-o", str(linked), str(compiled), *options]
        try:
            ended = subprocess.run(arguments, capture_output=True, timeout=LINK_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            refusals.append(f"{command}: {exc}")
            continue
        if ended.returncode == 0:
            return
        refusals.append(f"{command}: {ended.stderr.decode(errors='replace')[-300:]}")
    linked.unlink(missing_ok=True)
    raise EngineFailed(f"kernels cannot be linked: {'; '.join(refusals) or 'no linker (cc or ld) is installed'}")
