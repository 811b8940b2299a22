"""What the stages of one deploy share: the service, the settings, and what earlier stages made.

Nothing in here outlives the process: a resumed deploy runs the stages again, and finds files in the cache, trials and
rollouts in the database.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.compress.cache import PassCache
from controller.config.classes import class_of
from controller.deploy.progress import Progress
from controller.deploy.settings import DeploySettings
from controller.fleet.views import DeviceView

if TYPE_CHECKING:
    from controller.bundle.artifacts import Artifact
    from controller.choose.measured import Judgement
    from controller.compress.evaluate import OfflineResult
    from controller.compress.variant import Variant
    from controller.models.samples import LabelledData
    from controller.service import Service
    from controller.store.database import Store
    from controller.workspace import Workspace


@dataclass(frozen=True)
class Attacked:
    """A variant's answers under attack; where there are none, why."""

    judgement: "Judgement | None"
    because: str = ""


@dataclass
class Made:
    """What the stages made, in their order. `attacked`: by a variant's name and epsilon."""

    variants: "list[Variant]" = field(default_factory=list)
    samples: "LabelledData | None" = None
    offline: "dict[str, OfflineResult]" = field(default_factory=dict)
    attacked: dict[tuple[str, float], Attacked] = field(default_factory=dict)
    bundles: "dict[str, Artifact]" = field(default_factory=dict)
    evaluation: "Artifact | None" = None


@dataclass
class DeployContext:
    """One deploy under way."""

    service: "Service"
    workspace: "Workspace"
    deployment: str
    settings: DeploySettings
    progress: Progress
    clock: Callable[[], float] = time.time
    made: Made = field(default_factory=Made)

    @property
    def store(self) -> "Store":
        return self.service.store

    @property
    def cache(self) -> PassCache:
        """Results of passes and evaluations, kept by content."""
        return PassCache(self.workspace.cache)

    def samples(self) -> "LabelledData":
        """Return the evaluation samples, loaded once."""
        from controller.models.samples import evaluation_samples

        if self.made.samples is None:
            self.made.samples = evaluation_samples(self.settings.model, self.workspace.datasets)
        return self.made.samples

    def devices_by_class(self) -> dict[str, list[DeviceView]]:
        """Return class -> its devices that are known, online or not; a device of no class is left out."""
        return by_class(self.service.devices(self.settings.fleet), self.settings)


def by_class(views: list[DeviceView], settings: DeploySettings) -> dict[str, list[DeviceView]]:
    """Sort devices into the classes of a deploy; every class is there, if need be empty.

    Raises:
        ConfigurationError: A device matches two classes.
    """
    groups: dict[str, list[DeviceView]] = {one.name: [] for one in settings.classes}
    for view in views:
        name = class_of(settings.classes, view.inventory) if view.inventory else None
        if name is not None:
            groups[name].append(view)
    return groups


def online_only(groups: Mapping[str, list[DeviceView]]) -> dict[str, list[DeviceView]]:
    """Return class -> its devices that are there now."""
    return {name: [view for view in views if view.online] for name, views in groups.items()}
