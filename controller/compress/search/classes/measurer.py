"""What a search asks of devices: variants in, how long each class takes out. The seam behind which a fleet stands.

Decides: the words on both sides. Leaves out: brokers, plans and trials (`controller/tuning` has them), and which
variants are worth a device's time (`select.py`).

    measurer.measure({"pi-5": [Subject(variant, golden_outputs)]})["pi-5", "onnx-int8"].ratio  # 0.41
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from controller.compress.variant import Variant


@dataclass(frozen=True, eq=False)
class Subject:
    """A variant to be measured. golden_outputs: its raw outputs for the model's golden inputs, shape (n, ...)."""

    variant: Variant
    golden_outputs: NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """One variant in one class.

    ratio: its time over the control's, measured in the same sittings; null: there is none, `because` says why.
    control_ms: median query of the control [ms]. devices: those that measured both. lacking: the class cannot run it,
    since it lacks the engine, or a device refused it. again: it may be measured later, since its device was away.
    """

    ratio: float | None = None
    control_ms: float | None = None
    devices: tuple[str, ...] = ()
    because: str = ""
    lacking: bool = False
    again: bool = False

    @property
    def p50_ms(self) -> float | None:
        """Its median query [ms]: the control's, times the ratio, so that both agree."""
        return None if self.ratio is None or self.control_ms is None else self.ratio * self.control_ms


Readings = dict[tuple[str, str], Reading]
"""Class and variant's name -> what its devices said."""


class Measurer(Protocol):
    """Has variants measured by devices of several classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in their order."""

    @property
    def minutes_left(self) -> float:
        """Device-minutes that may still be asked for."""

    def cost(self, device_class: str, variants: int) -> float:
        """Return the device-minutes of so many variants of one class, the control beside them included."""

    def known(self) -> Readings:
        """Return what was measured before, in former runs too."""

    def measure(self, wanted: Mapping[str, Sequence[Subject]]) -> Readings:
        """Return a reading of each variant of each class; what is known already is not measured again.

        A device that is away, a record that is void, an engine that a class lacks: a reading with the reason. What was
        asked for and not answered when the process died is waited for, and not asked again.

        Raises:
            KeyboardInterrupt: The user ended it; what was asked stays asked.
        """
