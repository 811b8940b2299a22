"""The class of each device for the labels of metrics: found once, and again when its inventory changes.

Decides: what stands for a device that no class matches, and for names that no fleet file knows: labels come from files
that people wrote, never from the network, so that their number is bounded.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from controller.config.classes import class_of
from controller.config.fleet_file import FleetFile
from controller.errors import ConfigurationError
from wire.presence import Inventory

UNCLASSED = "none"
"""Class of a device that no class of the fleet file matches, or two, or that told no inventory yet."""
OTHER = "other"
"""Stands for every workload that the fleet file does not name."""


class ClassLabels:
    """Labels of the fleets that one process serves."""

    def __init__(self, fleets: Mapping[str, FleetFile]) -> None:
        self._fleets = fleets
        self._found: dict[tuple[str, str], tuple[Any, str]] = {}

    def of(self, fleet: str, device: str, inventory: Mapping[str, Any] | None) -> str:
        """Return the class of a device from its inventory as it is stored."""
        known = self._found.get((fleet, device))
        if known is not None and known[0] == inventory:
            return known[1]
        found = self._look(fleet, inventory)
        self._found[fleet, device] = (inventory, found)
        return found

    def known(self, fleet: str, device: str) -> str | None:
        """Return the class that was last found for a device; None where it was not looked for yet."""
        found = self._found.get((fleet, device))
        return None if found is None else found[1]

    def workload(self, fleet: str, name: str) -> str:
        """Return a workload's name, or `other`."""
        return name if fleet in self._fleets and name in self._fleets[fleet].workloads else OTHER

    def _look(self, fleet: str, inventory: Mapping[str, Any] | None) -> str:
        if inventory is None or fleet not in self._fleets:
            return UNCLASSED
        try:
            return class_of(self._fleets[fleet].classes, Inventory.model_validate(inventory)) or UNCLASSED
        except (ConfigurationError, ValidationError):
            return UNCLASSED
