"""Fleets with known variances, as cells and as records."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.trial.fleetwide.observed import BLOCKS, Cell, observe
from wire.trial import Flag, Phases, Replicate, Samples, TrialRecord

BASE_NS = 5e6
QUERIES = 200
SPREADS = {"device": 0.05, "process": 0.02, "time": 0.01, "query": 0.05}
"""Standard deviations of log latency."""


def fleet(
    chance: np.random.Generator, devices: int, processes: int = 5, *, correlation: float = 0.0, **spreads: float
) -> list[Cell]:
    """Return one variant on each device; queries are normal within blocks, blocks follow an autoregression."""
    known = SPREADS | spreads
    cells = []
    for number in range(devices):
        device = chance.normal(0, known["device"])
        found = tuple(
            observe(_samples(chance, device + chance.normal(0, known["process"]), known, correlation))
            for _ in range(processes)
        )
        cells.append(Cell(f"d{number}", "v", False, found))
    return cells


def _samples(
    chance: np.random.Generator, level: float, spreads: dict[str, float], correlation: float
) -> NDArray[np.int64]:
    blocks = [chance.normal(0, spreads["time"])]
    while len(blocks) < BLOCKS:
        blocks.append(correlation * blocks[-1] + chance.normal(0, spreads["time"] * np.sqrt(1 - correlation**2)))
    logs = np.log(BASE_NS) + level + np.repeat(blocks, QUERIES // BLOCKS) + chance.normal(0, spreads["query"], QUERIES)
    samples: NDArray[np.int64] = np.exp(logs).astype(np.int64)
    return samples


def record(device: str, variant: str, factor: float = 1.0, **changes: Any) -> TrialRecord:
    """Return a record of four processes around `factor` times a base latency, the same each time it is asked for."""
    chance = np.random.default_rng([*device.encode(), *variant.encode()])
    flags = changes.pop("process_flags", ())
    readings = changes.pop("readings", {})
    replicates = tuple(
        Replicate(
            order=order,
            total_ns=Samples.pack((BASE_NS * factor * np.exp(level + chance.normal(0, 0.02, 60))).astype(int).tolist()),
            pre_ns=Samples.pack([]), infer_ns=Samples.pack([]), post_ns=Samples.pack([]), warm_up_ns=Samples.pack([]),
            conditions=readings, flags=flags,
        )
        for order, level in enumerate(chance.normal(0, 0.005, 4))
    )  # fmt: skip
    known: dict[str, Any] = {
        "fleet": "yard", "device": device, "trial": f"{device}-{variant}", "plan_gen": 1, "workload": "main",
        "bundle": "a" * 64, "variant": variant, "control": variant == "fp32", "engine": "onnxruntime",
        "outcome": "measured", "replicates": replicates,
    }  # fmt: skip
    return TrialRecord(**(known | changes))


def void(reason: str = "throttled") -> tuple[Flag, ...]:
    """Return flags that make a record's speed unusable."""
    return (Flag(reason=reason, void=True),)


def loads(milliseconds: float) -> tuple[Phases, ...]:
    """Return three loads."""
    return tuple(Phases(load_ms=milliseconds * factor) for factor in (0.9, 1.0, 1.2))
