"""Train `soil_carbon`, choose the seed to commit without the test folds, and export it.

Decides: the training recipe, the rule that chooses the seed, and the statistics that `model.yaml` declares. Leaves out:
the architecture (`model.py`), the file formats (`models/formats.py`). Run it from the repository's root, with the
extras `data` and `train`.

    python -m models.soil_carbon.train --seeds 0 1 2 --out build/soil_carbon
"""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import smooth_l1_loss

from models.formats import Parity, TensorNames, parity, run_onnx, run_tflite, run_torch, write_onnx, write_tflite
from models.soil_carbon.data import TEST_FOLDS, Table, golden, load, table
from models.soil_carbon.model import build

LOG = logging.getLogger("soil_carbon")
# Significant digits of the declared statistics; training uses the rounded values, so that file and network agree.
DIGITS = 6


@dataclass(frozen=True)
class Recipe:
    steps: int = 400  # over all rows at once
    peak_rate: float = 5e-3
    weight_decay: float = 0.1
    noise: float = 0.2  # standard deviation added to the standardised sensors


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation (ddof 0) per column, of the rows that are fitted on."""

    mean: Table
    deviation: Table

    @classmethod
    def of(cls, rows: Table) -> "Statistics":
        return cls(_rounded(rows.mean(axis=0, dtype=np.float64)), _rounded(rows.std(axis=0, dtype=np.float64)))

    def standardise(self, rows: Table) -> Table:
        return (rows - self.mean) / self.deviation

    def restore(self, rows: Table) -> Table:
        return rows * self.deviation + self.mean


def _rounded(values: NDArray[np.float64]) -> Table:
    return np.array([float(f"{value:.{DIGITS}g}") for value in values], dtype=np.float32)


@dataclass(frozen=True)
class Score:
    """Errors in percent organic carbon over `rows` rows."""

    r2: float
    mean_absolute_error: float
    root_mean_squared_error: float
    rows: int


def score(targets: Table, predicted: Table) -> Score:
    """Return the errors; R² is 1 - squared errors / squared distances from the mean of these targets."""
    errors = (predicted - targets).astype(np.float64)
    spread = float(((targets - targets.mean(dtype=np.float64)) ** 2).sum())
    r2 = 1 - float((errors**2).sum()) / spread
    return Score(
        round(r2, 4), round(float(np.abs(errors).mean()), 4), round(float(np.sqrt((errors**2).mean())), 4), len(errors)
    )


@dataclass(frozen=True)
class Fitted:
    network: nn.Module
    inputs: Statistics
    targets: Statistics

    def predict(self, rows: Table) -> Table:
        """Return organic carbon [%] (n, 1) for sensor values (n, 17)."""
        return self.targets.restore(run_torch(self.network, self.inputs.standardise(rows)))


def fit(inputs: Table, targets: Table, seed: int, recipe: Recipe) -> Fitted:
    """Return a network fitted on all rows, in evaluation mode. Same seed, processor and torch: same weights."""
    torch.manual_seed(seed)
    network = build()
    scales = Statistics.of(inputs), Statistics.of(targets)
    x, y = torch.from_numpy(scales[0].standardise(inputs)), torch.from_numpy(scales[1].standardise(targets))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.peak_rate, total_steps=recipe.steps)
    for _ in range(recipe.steps):
        loss = smooth_l1_loss(network(x + recipe.noise * torch.randn_like(x)), y)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return Fitted(network.eval(), *scales)


def cross_validate(folds: Sequence[int], seed: int, recipe: Recipe) -> Score:
    """Return the pooled errors over `folds`: each is predicted by a network fitted on the other folds of the list."""
    inputs, targets, fold_of_row = table()
    known = np.isin(fold_of_row, folds)
    predicted = np.zeros_like(targets)
    for fold in folds:
        train, held = known & (fold_of_row != fold), fold_of_row == fold
        predicted[held] = fit(inputs[train], targets[train], seed, recipe).predict(inputs[held])
    return score(targets[known], predicted[known])


def chosen_seed(validated: dict[int, Score]) -> int:
    """Return the seed with the best R² inside the training folds, the lowest among equals; no test row counts."""
    return min(validated, key=lambda seed: (-validated[seed].r2, seed))


def export(fitted: Fitted, folder: Path) -> dict[str, Parity]:
    """Write weights, ONNX and TFLite to `folder`; compare the two with torch on training rows and golden inputs."""
    stem = folder / "soil_carbon"
    save_file(fitted.network.state_dict(), stem.with_suffix(".safetensors"))
    rows = fitted.inputs.standardise(np.concatenate([load("train")[0], golden()]))
    write_onnx(fitted.network, torch.from_numpy(rows[:2]), stem.with_suffix(".onnx"), TensorNames("sensors", "carbon"))
    write_tflite(fitted.network, torch.from_numpy(rows[:1]), stem.with_suffix(".tflite"))
    reference = run_torch(fitted.network, rows)
    return {
        "onnx": parity(reference, run_onnx(stem.with_suffix(".onnx"), rows)),
        "tflite": parity(reference, run_tflite(stem.with_suffix(".tflite"), rows)),
    }


def declared(fitted: Fitted) -> dict[str, list[float]]:
    """Return the statistics for `model.yaml`."""
    columns = {"mean": fitted.inputs.mean, "deviation": fitted.inputs.deviation}
    columns |= {"offset": fitted.targets.mean, "scale": fitted.targets.deviation}
    return {name: [float(f"{value:.{DIGITS}g}") for value in values] for name, values in columns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--out", type=Path, default=Path("build/soil_carbon"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    metrics = run(options.seeds, Recipe(steps=options.steps), options.out)
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    LOG.info("%s", json.dumps(metrics, indent=2))


def run(seeds: Sequence[int], recipe: Recipe, out: Path) -> dict[str, object]:
    """Validate every seed, commit to one, export it; return all numbers that the card states."""
    training_folds = [fold for fold in range(1, 11) if fold not in TEST_FOLDS]
    validated = {seed: cross_validate(training_folds, seed, recipe) for seed in seeds}
    pooled = {seed: cross_validate(range(1, 11), seed, recipe) for seed in seeds}
    networks = {seed: fit(*load("train"), seed, recipe) for seed in seeds}
    inputs, targets = load("test")
    chosen = chosen_seed(validated)
    return {
        "recipe": asdict(recipe),
        "chosen_seed": chosen,
        "cross_validated_training_folds": {seed: asdict(result) for seed, result in validated.items()},
        "cross_validated_all_folds": {seed: asdict(result) for seed, result in pooled.items()},
        "test": {seed: asdict(score(targets, network.predict(inputs))) for seed, network in networks.items()},
        "parity": {name: asdict(result) for name, result in export(networks[chosen], out).items()},
        "declared": declared(networks[chosen]),
    }


if __name__ == "__main__":
    main()
