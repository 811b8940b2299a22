"""What lies in the kernels' folder, and whether each file is what was written there.

Light: the control process and `agent doctor` may ask. Leaves out: where the folder is (`limits.py`), who fills it
(`kernels/library.py`, `agent/warm.py`) and who loads from it (`kernels/native.py`).
"""

import hashlib
from pathlib import Path

LIBRARY_NAME = "kernels.so"
OBJECT_NAME = "kernels.o"
DIGESTS_NAME = "kernels.sha256"
"""In the form that `sha256sum --check` reads."""


def expected_digests(folder: Path) -> dict[str, str]:
    """Return file -> SHA-256 of what lies in the kernels' folder; empty where nothing was kept."""
    try:
        lines = (folder / DIGESTS_NAME).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def whole(folder: Path, name: str) -> bytes:
    """Return the content of a file of the kernels' folder.

    Raises:
        ValueError: It is not what was written there.
        OSError: It cannot be read.
    """
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != expected_digests(folder).get(name):
        raise ValueError("it differs from its digest")
    return content
