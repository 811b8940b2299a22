"""One thing that was looked at: what was found, how bad it is, what to do.

Decides: the three verdicts. `missing`: the agent cannot work so; `warning`: it can, and it costs something. Leaves out:
what is looked at.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Finding:
    """One check: what was found, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""

    def as_document(self) -> dict[str, str]:
        return asdict(self)


def text_of(path: Path) -> str:
    """Return what a small file says; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""
