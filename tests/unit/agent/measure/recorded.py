"""Devices that are not at hand: their file systems, laid out from `fixtures/` (see the README there)."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

FIXTURES = Path(__file__).parent / "fixtures"


def record(root: Path, files: Mapping[str, str]) -> Path:
    """Lay out `files`, path -> content, below `root`."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text if text.endswith(("\n", "\0")) else text + "\n")
    return root


def device(name: str, root: Path, changed: Mapping[str, str] | None = None) -> Path:
    """Lay out the device `name`, with some files changed; an empty content removes a file."""
    files = {**_fixture(name), **(changed or {})}
    return record(root, {path: text for path, text in files.items() if text})


@cache
def _fixture(name: str) -> dict[str, str]:
    files: dict[str, str] = yaml.safe_load((FIXTURES / f"{name}.yaml").read_text())
    return files
