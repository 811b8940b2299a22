"""Models by name: what the workspace holds, and what a fleet file's reference leads to.

find_model("leaf_outline@1", workspace / "models")
"""

import re
from pathlib import Path

from controller.errors import NotFound
from controller.models.folder import FILE_NAME, ModelFolder


def list_models(models_root: Path) -> list[ModelFolder]:
    """Return the models under `models_root` (`{name}/{version}/`), by name, then version, numbers as numbers."""
    files = models_root.glob(f"*/*/{FILE_NAME}") if models_root.is_dir() else ()
    return sorted(
        (ModelFolder.load(file) for file in files), key=lambda model: (model.name, version_order(model.version))
    )


def find_model(reference: str, models_root: Path, relative_to: Path | None = None) -> ModelFolder:
    """Return the model that a reference means.

    Args:
        reference: `NAME@VERSION`, `NAME` (its latest version), or the path of a model folder.
        models_root: Where imported models lie.
        relative_to: Folder from which a relative path counts; the current one when left out.
    Raises:
        NotFound: Neither such a model nor such a folder; the text lists what there is.
    """
    base = relative_to or Path()
    path = base / reference
    if path.is_dir() or "/" in reference or reference.startswith("."):
        return ModelFolder.load(path)
    name, _, version = reference.partition("@")
    found = [folder for folder in (models_root / name).glob("*") if (folder / FILE_NAME).is_file()] if name else []
    chosen = [folder for folder in found if version in ("", folder.name)]
    if not chosen:
        known = ", ".join(model.identity for model in list_models(models_root)) or "none yet"
        raise NotFound(f"no model {reference!r}; imported are: {known}. `controller model import FILE` adds one")
    return ModelFolder.load(max(chosen, key=lambda folder: version_order(folder.name)))


def version_order(version: str) -> tuple[tuple[int, str], ...]:
    """Return a key by which 2 comes before 10, and 1.2 before 1.10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[._-]", version))
