"""Reading the small text files of the kernel: one value or null, never an exception.

Decides: what counts as absent (no such file, no permission, a sensor that sleeps, text that is no number). Leaves out:
which files there are.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path("/")


def attempt(read: Callable[[], T]) -> T | None:
    """Return what `read` returns, or None where the file does not say it."""
    # Kernels differ in which of these files they have, and some refuse to be read while a sensor sleeps.
    try:
        return read()
    except (OSError, ValueError, IndexError):
        return None


def text(path: Path) -> str | None:
    """Return the file's text without white space and NUL around it; None where there is none."""
    found = attempt(lambda: path.read_text(encoding="utf-8", errors="replace").strip("\0 \t\r\n"))
    return found or None


def number(path: Path) -> int | None:
    """Return the file's only number."""
    found = text(path)
    return None if found is None else attempt(lambda: int(found))


def hexadecimal(path: Path) -> int | None:
    """Return the file's only number, written in base 16."""
    found = text(path)
    return None if found is None else attempt(lambda: int(found, 16))


def lines(path: Path) -> list[str]:
    """Return the file's lines; none where there is no file."""
    return (text(path) or "").splitlines()


def fields(path: Path) -> dict[str, int]:
    """Return a file of lines `name number …`; lines of another form are left out."""
    found: dict[str, int] = {}
    for line in lines(path):
        name, *rest = line.split() or [""]
        if rest and rest[0].isdecimal():
            found[name.rstrip(":")] = int(rest[0])
    return found


def folders(parent: Path, pattern: str) -> list[Path]:
    """Return what matches in `parent`, by number: cpu10 comes after cpu9."""
    found = attempt(lambda: list(parent.glob(pattern))) or []
    return sorted(found, key=lambda path: _by_number(path.relative_to(parent).as_posix()))


def hwmon(root: Path, *names: str) -> list[tuple[str, Path]]:
    """Return (name, folder) of the hardware monitors with one of these names; all of them without names."""
    chips = [(text(folder / "name") or "", folder) for folder in folders(root / "sys/class/hwmon", "hwmon*")]
    return [(name, folder) for name, folder in chips if name and (not names or name in names)]


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return words and numbers in turn, so that both compare with their like."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
