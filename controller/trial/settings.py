"""How variants are measured on the fleet: grade, devices, how many variants, and what serving may lose."""

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from controller.config.section import Section
from wire.base import Name


class TrialSettings(Section):
    """The `trials` part of a workload."""

    grade: Literal["quick", "normal", "ranking"] = "normal"
    """`quick`: at most 6 s timed a variant, labelled so. `normal`: five processes. `ranking`: 60 s a process."""
    devices_per_class: int = Field(default=3, ge=1, le=100)
    """Devices of a class that measure the same variants."""
    most_variants: int = Field(default=6, ge=1, le=50)
    """Variants a device measures beside the control, after the host's screen."""
    policy: Literal["pause", "coexist"] = "pause"
    """`pause`: serving stops while measuring. `coexist`: both run; such numbers are compared with themselves only."""
    longest_pause_s: float = Field(default=300.0, gt=0, le=86400)
    """Longest pause of serving [s]."""
    timeout_s: float = Field(default=1800.0, gt=0, le=7 * 86400)
    """How long to wait for the records of a class [s]."""
    repeats: int = Field(default=2, ge=0, le=10)
    """How often a device measures again, beside the control, what came back void (disturbed, throttled)."""
    also_measure: dict[Name, tuple[str, ...]] = Field(default_factory=dict)
    """Class -> patterns of variant or recipe names (`*dynamic*`) that are measured whatever the screen says."""

    def wants(self, device_class: str, *names: str) -> bool:
        """Whether a variant that goes by any of `names` is to be measured whatever the screen says."""
        patterns = self.also_measure.get(device_class, ())
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
