"""Where fleet files lie: named by `--config`, in the workspace, beside the current folder, or shipped.

Decides: which file describes a fleet, and where its broker is (`THRESHER_BROKER_*` stand over the file). Leaves out:
what else it means (`controller/config`).
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controller.config.fleet_file import FleetFile, load_fleet
from controller.config.references import resolve_path
from controller.errors import ConfigurationError, NotFound
from controller.workspace import Workspace

if TYPE_CHECKING:
    from controller.mqtt import BrokerSettings

CREDENTIAL = "broker-password"
"""Systemd credential that holds the broker's password where no file is named."""


@dataclass(frozen=True)
class FoundFleet:
    """A fleet file and where it lies: paths in it are relative to that."""

    path: Path
    fleet_file: FleetFile


def find_fleet_file(
    fleet: str, config: Path | None, workspace: Workspace, *, required: bool = True
) -> FoundFleet | None:
    """Return the file that describes `fleet`, or None where there is none and it is not `required`.

    Raises:
        NotFound: No such file, or no file for that fleet; the text lists the fleets that there are.
        ConfigurationError: The file is malformed, or describes another fleet.
    """
    if config is not None:
        if not config.is_file():
            raise NotFound(f"{config}: no such fleet file")
        return _checked(fleet, config)
    for folder in fleet_folders(workspace):
        path = folder / f"{fleet}.yaml"
        if path.is_file():
            return _checked(fleet, path)
    if not required:
        return None
    known = sorted({path.stem for folder in fleet_folders(workspace) for path in folder.glob("*.yaml")})
    looked = ", ".join(str(folder) for folder in fleet_folders(workspace))
    raise NotFound(
        f"no fleet {fleet!r}: known are {', '.join(known) or 'none'} (looked in {looked}); name its file with --config"
    )


def required_fleet(fleet: str, config: Path | None, workspace: Workspace) -> FoundFleet:
    """Return the file that describes `fleet`; raises as `find_fleet_file` does."""
    found = find_fleet_file(fleet, config, workspace)
    assert found is not None  # required
    return found


def fleet_folders(workspace: Workspace) -> list[Path]:
    """Return the folders in which fleet files are looked for, the first that has one wins."""
    return [workspace.root / "fleets", Path.cwd() / "configs" / "fleets", shipped("configs/fleets")]


def shipped(relative: str) -> Path:
    """Return a folder that came with Thresher: of the checkout, else of the installed environment."""
    checkout = Path(__file__).resolve().parents[2] / relative
    return checkout if checkout.exists() else Path(sys.prefix) / "share" / "thresher" / relative


def _checked(fleet: str, path: Path) -> FoundFleet:
    found = FoundFleet(path.resolve(), load_fleet(path))
    if found.fleet_file.fleet != fleet:
        raise ConfigurationError(
            f"{path}: describes fleet {found.fleet_file.fleet!r}, not {fleet!r}: name the right file or fleet"
        )
    return found


def broker_settings(found: FoundFleet, environment: Mapping[str, str] = os.environ) -> "BrokerSettings":
    """Return where the fleet's broker is.

    Raises:
        ConfigurationError: A variable does not hold what its field takes.
    """
    from controller.mqtt import BrokerSettings  # paho: reading a fleet file need not wait for it

    address = found.fleet_file.broker.with_environment(environment)

    def placed(name: str | None) -> str | None:
        return None if name is None else str(resolve_path(name, found.path))

    return BrokerSettings(
        host=address.host,
        port=address.port,
        username=address.username,
        password_file=placed(address.password_file) or _credential(address.username, environment),
        ca_file=placed(address.ca_file),
    )


def _credential(username: str | None, environment: Mapping[str, str]) -> str | None:
    """Return the file that the unit's LoadCredential= has laid down, where there is a user who needs it."""
    path = Path(environment.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / CREDENTIAL
    return str(path) if username is not None and path.is_file() else None
