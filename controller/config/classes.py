"""Which class a device belongs to, from what it says it has. Pure.

Decides: how each criterion is compared, and that two matching classes are a fault of the file, not a coin toss.
"""

import re
from collections.abc import Sequence
from fnmatch import translate

from controller.config.fleet_file import DeviceClass, Match, MemoryRange
from controller.errors import ConfigurationError
from wire.presence import Inventory


def class_of(classes: Sequence[DeviceClass], inventory: Inventory) -> str | None:
    """Return the name of the class that a device belongs to, or None where no class matches.

    Raises:
        ConfigurationError: Two classes match; the message names both.
    """
    found = [each.name for each in classes if matches(each.match, inventory)]
    if len(found) > 1:
        raise ConfigurationError(
            f"device {inventory.device!r} matches the classes {found[0]!r} and {found[1]!r} of fleet "
            f"{inventory.fleet!r}; narrow the match of one of them"
        )
    return found[0] if found else None


def matches(match: Match, inventory: Inventory) -> bool:
    """Whether a device has all that a class asks for."""
    return (
        all(inventory.labels.get(name) == value for name, value in match.labels.items())
        and (match.soc is None or re.fullmatch(translate(match.soc), inventory.soc, re.IGNORECASE) is not None)
        and (match.machine is None or match.machine == inventory.machine)
        and (match.memory_bytes is None or _within(match.memory_bytes, inventory))
        and set(match.engines) <= {engine.name for engine in inventory.engines}
    )


def usable_engines(device_class: DeviceClass, inventory: Inventory) -> frozenset[str]:
    """Return the engines that variants on this device may use: what it found, less what its class leaves out."""
    found = frozenset(engine.name for engine in inventory.engines)
    return found if device_class.engines is None else found & frozenset(device_class.engines)


def _within(asked: MemoryRange, inventory: Inventory) -> bool:
    memory = inventory.memory_cap_bytes or inventory.memory_bytes
    return (asked.at_least is None or memory >= asked.at_least) and (asked.at_most is None or memory <= asked.at_most)
