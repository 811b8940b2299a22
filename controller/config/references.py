"""What `model:` and file names in a fleet file point to; paths are relative to the file.

Decides: what is a path and what is a name. Leaves out: whether the workspace has the model, and recipes
(`controller/compress/shipped.py`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from controller.errors import ConfigurationError, NotFound

_NAME_AND_VERSION = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,62})@(?P<version>[A-Za-z0-9][A-Za-z0-9._+-]{0,62})")


@dataclass(frozen=True)
class ModelReference:
    """A model in the workspace (`name` and `version`) or a model folder (`folder`)."""

    name: str | None = None
    version: str | None = None
    folder: Path | None = None

    def __str__(self) -> str:
        return str(self.folder) if self.folder else f"{self.name}@{self.version}"


def model_reference(text: str, beside: Path) -> ModelReference:
    """Return what `model:` points to.

    Args:
        text: NAME@VERSION, or a path (it holds a `/`, or starts with `.`).
        beside: The fleet file, or the folder that paths are relative to.
    Raises:
        ConfigurationError: Neither.
        NotFound: A path at which no folder lies.
    """
    if "/" in text or text.startswith("."):
        folder = resolve_path(text, beside)
        if not folder.is_dir():
            raise NotFound(f"model {text!r}: no folder at {folder}; paths are relative to {_folder(beside)}")
        return ModelReference(folder=folder)
    if found := _NAME_AND_VERSION.fullmatch(text):
        return ModelReference(found["name"], found["version"])
    raise ConfigurationError(f"model {text!r}: write NAME@VERSION (`controller model list`) or the path of a folder")


def resolve_path(text: str, beside: Path) -> Path:
    """Return a path of the file as an absolute one; `~` is the home folder."""
    return (_folder(beside) / Path(text).expanduser()).resolve()


def _folder(beside: Path) -> Path:
    return beside.parent if beside.is_file() else beside
