"""The folder in which the controller keeps everything: database, keys, models, artifacts, reports.

Decides: the layout and where the folder is. Leaves out: what the files mean.

>>> Workspace(Path("/srv/thresher")).database_path
PosixPath('/srv/thresher/thresher.db')
"""

import os
from dataclasses import dataclass
from pathlib import Path

from controller.errors import NotFound

HOME_VARIABLE = "THRESHER_HOME"
DATABASE_VARIABLE = "THRESHER_DATABASE_URL"
DEFAULT_FOLDER = ".thresher"


@dataclass(frozen=True)
class Workspace:
    """A workspace's paths. Making the object touches nothing; `create` makes the folders."""

    root: Path

    @classmethod
    def locate(cls, option: str | Path | None = None) -> "Workspace":
        """Return the workspace of a command: `--workspace`, else $THRESHER_HOME, else ./.thresher."""
        return cls(Path(option or os.environ.get(HOME_VARIABLE) or DEFAULT_FOLDER).expanduser().absolute())

    @property
    def database_path(self) -> Path:
        return self.root / "thresher.db"

    @property
    def database_url(self) -> str:
        """Database as an SQLAlchemy URL: $THRESHER_DATABASE_URL, else the SQLite file of this workspace."""
        return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{self.database_path}"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def trusted_keys(self) -> Path:
        """The public key, for the agents' configuration (`trusted_keys_file`)."""
        return self.root / "trusted-keys.yaml"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def searches(self) -> Path:
        """What searches for recipes tried."""
        return self.root / "searches"

    @property
    def samples(self) -> Path:
        """Queries that devices captured."""
        return self.root / "samples"

    @property
    def exists(self) -> bool:
        """Whether `controller init` was here: the keys' folder stands."""
        return self.keys.is_dir()

    def create(self) -> None:
        """Make the folders that are missing; the keys' folder is closed to others."""
        for folder in (self.models, self.cache, self.artifacts, self.datasets, self.reports):
            folder.mkdir(parents=True, exist_ok=True)
        self.keys.mkdir(mode=0o700, exist_ok=True)

    def require(self) -> None:
        """Refuse to work in a folder that was never initialised.

        Raises:
            NotFound: No workspace there; the text says how to make one.
        """
        if not self.exists:
            raise NotFound(f"no workspace at {self.root}: run `controller init`, or name one with --workspace")
