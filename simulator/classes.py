"""Classes of simulated devices: what they say they are, and the model that their latencies are drawn from.

Decides: the file's fields, the classes where no file is given, and which device belongs to which. Leaves out: drawing
(`draw.py`).

>>> [class_of(SHIPPED, number).name for number in range(4)]
['sim-small', 'sim-large', 'sim-small', 'sim-middle']
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from controller.config.section import Section
from controller.config.yaml_file import load_yaml
from wire.base import Name

MIB = 1024 * 1024
_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, fill the interval evenly, however many there are. Source: Weyl's sequence."""


class LatencyModel(Section):
    """How long a query takes: median x device x process x query, each factor log-normal around 1."""

    median_ms: float = Field(default=5.0, gt=0, le=60_000)
    """Of a bundle of 1 MiB [ms]; larger bundles are slower, with the fourth root of their size."""
    device_ratio: float = Field(default=0.08, ge=0, le=2)
    """Standard deviation between devices of the class, of the logarithm."""
    process_ratio: float = Field(default=0.02, ge=0, le=2)
    """Between processes on one device, of the logarithm."""
    query_ratio: float = Field(default=0.05, ge=0, le=2)
    """Between queries of one process, of the logarithm."""
    tail_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of queries that were disturbed."""
    tail_times: float = Field(default=4.0, ge=1, le=1000)
    """How many times longer those take."""


class SimulatedClass(Section):
    """Devices alike."""

    name: Name
    """Name of the class; each device carries it as its label `simulated`, which a fleet file can match on."""
    share: float = Field(default=1.0, gt=0)
    """Share of the devices, beside the other classes' shares."""
    soc: str = Field(default="board", min_length=1, max_length=100)
    """System on chip; the inventory says `simulated` in front of it."""
    machine: str = Field(default="aarch64", min_length=1, max_length=32)
    """Machine as `uname -m` says it."""
    cores: int = Field(default=4, ge=1, le=1024)
    """Cores."""
    memory_bytes: int = Field(default=1024 * MIB, ge=64 * MIB)
    """Memory [bytes]."""
    engines: dict[str, str] = Field(default={"onnxruntime": "1.22.0", "litert": "2.1.0"}, min_length=1, max_length=32)
    """Engine -> its version."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=60)
    """More labels."""
    latency: LatencyModel = LatencyModel()
    """How long a query takes."""
    queries_per_second: float = Field(default=2.0, ge=0, le=10_000)
    """Queries that each device answers while it serves."""
    selftest_s: float = Field(default=2.0, ge=0, le=3600)
    """Duration of a self-test [virtual s]."""
    trial_s: float = Field(default=6.0, ge=0, le=3600)
    """Duration of a trial [virtual s]."""


class ClassesFile(Section):
    """The file of `simulator run --classes`."""

    version: Literal[1]
    """Version of this format."""
    simulated: tuple[SimulatedClass, ...] = Field(min_length=1, max_length=100)
    """The classes."""


SHIPPED = (
    SimulatedClass(
        name="sim-small", share=2.0, soc="small board", memory_bytes=512 * MIB, latency=LatencyModel(median_ms=30.0)
    ),
    SimulatedClass(
        name="sim-middle", share=1.0, soc="middle board", memory_bytes=2048 * MIB, latency=LatencyModel(median_ms=10.0)
    ),
    SimulatedClass(
        name="sim-large", share=1.0, soc="large board", memory_bytes=8192 * MIB, latency=LatencyModel(median_ms=3.0)
    ),
)
"""Where no file is given: half of the devices are small ones."""


def load_classes(path: Path | None) -> tuple[SimulatedClass, ...]:
    """Return the classes in the file at `path`, or `SHIPPED`.

    Raises:
        controller.errors.ConfigurationError: Each fault with file, line, field and what to do.
    """
    return SHIPPED if path is None else load_yaml(path, ClassesFile).simulated


def class_of(classes: Sequence[SimulatedClass], number: int) -> SimulatedClass:
    """Return the class of the device with this number: every run of numbers has the classes in about their shares."""
    left = (number * _GOLDEN) % 1.0 * sum(each.share for each in classes)
    for each in classes:
        left -= each.share
        if left < 0:
            return each
    return classes[-1]
