"""All that a deploy depends on, taken when it is asked for, with one digest over it.

Decides: what makes two deploys the same: classes, the workload's section, recipes, the model's files, the evaluation
samples. Leaves out: the broker's address, and which devices are there. A deploy that is resumed reads these settings
from its row, so that an edit of the file in between changes nothing.

    settings = read_settings(found, "main", None, workspace)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from controller.bundle.atomic import PREFIX
from controller.compress.passes.converted import conversions_of, out_of_reach
from controller.compress.recipe import Recipe
from controller.compress.shipped import find_recipes
from controller.compress.variant import recipe_document
from controller.config.fleet_file import DeviceClass, FleetFile, Workload
from controller.config.references import model_reference
from controller.convert.conversion import FOLDER, conversion_name
from controller.deploy.fleet_files import FoundFleet
from controller.errors import ConfigurationError, ControllerError, NotFound, UnusableModel
from controller.models.folder import ModelFolder
from controller.models.labels.kinds import DEPLOYED
from controller.models.samples import evaluation_samples
from controller.trial.summary import Labels
from controller.workspace import Workspace
from wire.canonical import canonical_json, sha256_hex

SCHEMA = 1


@dataclass(frozen=True)
class DeploySettings:
    """What is deployed, to whom, and how."""

    fleet_file: FleetFile
    workload_name: str
    model_root: Path
    model_files_digest: str
    evaluation_digest: str
    recipes: tuple[Recipe, ...]

    @property
    def fleet(self) -> str:
        return self.fleet_file.fleet

    @property
    def workload(self) -> Workload:
        return self.fleet_file.workload(self.workload_name)

    @property
    def classes(self) -> tuple[DeviceClass, ...]:
        """The classes that run this workload."""
        return self.fleet_file.classes_of(self.workload_name)

    @cached_property
    def model(self) -> ModelFolder:
        """The model's folder, read again: it may be gone since."""
        return ModelFolder.load(self.model_root)

    @property
    def digest(self) -> str:
        """One digest over all that decides the result of a deploy."""
        parts = {
            "classes": [one.model_dump(mode="json") for one in self.classes],
            "workload": self.workload.model_dump(mode="json"),
            "recipes": [recipe_document(recipe) for recipe in self.recipes],
            "model_files": self.model_files_digest,
            "evaluation": self.evaluation_digest,
        }
        return sha256_hex(canonical_json(parts))

    def document(self) -> dict[str, Any]:
        """Return the settings as a deployment's row keeps them."""
        return {
            "schema": SCHEMA,
            # Only what was set: some fields mean another thing when they are given than when they are left out.
            "fleet_file": self.fleet_file.model_dump(mode="json", exclude_unset=True),
            "workload": self.workload_name,
            "model_root": str(self.model_root),
            "model_files_digest": self.model_files_digest,
            "evaluation_digest": self.evaluation_digest,
            "recipes": [recipe.model_dump(mode="json", exclude_unset=True) for recipe in self.recipes],
        }


def settings_of(document: dict[str, Any]) -> DeploySettings:
    """Return the settings that a deployment's row keeps.

    Raises:
        ConfigurationError: Another release wrote them, and this one cannot read them.
    """
    try:
        return DeploySettings(
            fleet_file=FleetFile.model_validate(document["fleet_file"]),
            workload_name=document["workload"],
            model_root=Path(document["model_root"]),
            model_files_digest=document["model_files_digest"],
            evaluation_digest=document["evaluation_digest"],
            recipes=tuple(Recipe.model_validate(recipe) for recipe in document["recipes"]),
        )
    except (KeyError, ValidationError) as exc:
        raise ConfigurationError(f"the deployment was asked for by another release ({exc}): deploy again") from exc


def labels_of(document: dict[str, Any], datasets: Path) -> Labels | None:
    """Return the labels by which a deployment judged; None where its model is gone, or its samples have changed.

    Args:
        document: The settings that its row keeps.
        datasets: Where samples are kept.
    """
    try:
        settings = settings_of(document)
        samples = evaluation_samples(settings.model, datasets)
    except ControllerError:
        return None
    return Labels(samples.kind, samples.labels) if samples.digest == settings.evaluation_digest else None


def read_settings(found: FoundFleet, workload: str, model: str | None, workspace: Workspace) -> DeploySettings:
    """Take all that a deploy depends on.

    Args:
        found: The fleet's file.
        workload: Name of the workload.
        model: NAME@VERSION or a path (relative to the current folder) in place of the file's; None keeps the file's.
        workspace: Where models were imported to, and samples are kept.
    Raises:
        NotFound: No such workload, model or recipe.
        ConfigurationError: A recipe or reference is malformed.
        UnusableModel: The model or its samples cannot be used.
    """
    section = found.fleet_file.workload(workload)
    root = model_folder(model or section.model, Path.cwd() if model else found.path, workspace)
    folder = ModelFolder.load(root)
    _check_kind(folder)
    recipes = find_recipes(section.recipes, found.path.parent)
    return DeploySettings(
        fleet_file=found.fleet_file,
        workload_name=workload,
        model_root=folder.root,
        model_files_digest=digest_of_model(folder, recipes),
        evaluation_digest=evaluation_samples(folder, workspace.datasets).digest,
        recipes=recipes,
    )


def _check_kind(model: ModelFolder) -> None:
    """Refuse kinds whose answers devices do not send back: no variant could be chosen by what it loses."""
    if model.kind not in DEPLOYED:
        raise UnusableModel(
            f"{model.identity} does {model.kind}: of the answers that devices send back, only those of "
            f"{' and '.join(DEPLOYED)} are judged, so that no variant can be chosen for a fleet; "
            f"`controller model compress {model.identity}` judges its variants on this host"
        )


def model_folder(reference: str, beside: Path, workspace: Workspace) -> Path:
    """Return the folder that NAME@VERSION or a path stands for.

    Raises:
        NotFound: The workspace has no such model.
    """
    found = model_reference(reference, beside)
    if found.folder is not None:
        return found.folder
    root = workspace.models / str(found.name) / str(found.version)
    if not root.is_dir():
        known = sorted(f"{path.parent.name}@{path.name}" for path in workspace.models.glob("*/*") if path.is_dir())
        raise NotFound(
            f"model {reference} is not in the workspace {workspace.root}; it has {', '.join(known) or 'none'}: "
            "`controller model import FOLDER` brings one in"
        )
    return root


def digest_of_model(model: ModelFolder, recipes: Sequence[Recipe]) -> str:
    """Return one digest over a model's files, and whether the conversions that recipes begin with can be had.

    Those conversions themselves do not count: a deploy makes them, and would be another deploy by that.
    """
    asked = conversions_of(recipes)
    made = tuple(model.root / FOLDER / conversion_name(*one) for one in asked)
    files = files_digest(model.root, without=made)
    reached = [conversion_name(*one) for one in asked if out_of_reach(model, *one) is None]
    return sha256_hex(canonical_json({"files": files, "conversions": reached})) if reached else files


def files_digest(root: Path, without: Sequence[Path] = ()) -> str:
    """Return one digest over the names and contents of a folder's files.

    What Python leaves behind does not count, nor what a process that was killed left unfinished.

    Args:
        root: The folder.
        without: Folders in it that do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        left_behind = any(part == "__pycache__" or part.startswith(PREFIX) for part in inside.parts)
        if path.is_file() and not left_behind and not any(path.is_relative_to(each) for each in without):
            digest.update(f"{inside}\0{sha256_hex(path.read_bytes())}\n".encode())
    return digest.hexdigest()
