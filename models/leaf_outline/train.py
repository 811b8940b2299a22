"""Train `leaf_outline`, choose the seed to commit without the test set, and export it.

Decides: the training recipe and the rule that chooses the seed. Leaves out: the architecture (`model.py`), the
file formats (`models/formats.py`). Run it from the repository's root, with the extras `data` and `train`; fits that an
earlier run left in the output folder are used again.

    python -m models.leaf_outline.train --seeds 0 1 2 --out build/leaf_outline
"""

import argparse
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.formats import Parity, TensorNames, parity, run_onnx, run_tflite, run_torch, write_onnx, write_tflite
from models.leaf_outline.data import golden, load
from models.leaf_outline.model import CLASSES, build

LOG = logging.getLogger("leaf_outline")
HOLD_OUT_RATIO = 0.2  # of the training outlines, per species
HOLD_OUT_SEED = 0  # one hold-out for all seeds, so that they compete on the same outlines


@dataclass(frozen=True)
class Recipe:
    epochs: int = 200
    batch: int = 20
    peak_rate: float = 2e-3
    warm_up_ratio: float = 0.1  # of all steps
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    average_decay: float = 0.99  # of the averaged weights, per step
    noise: float = 0.03  # standard deviation added to the z-normalised outline
    reestimate_passes: int = 10  # over the training outlines, for the BatchNorm statistics of the averaged weights
    precision: str = "bf16"  # of the convolutions in training; statistics and evaluation are always float32


@dataclass(frozen=True)
class Outlines:
    """Inputs of shape (n, 1, 427) and labels of shape (n,)."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: torch.Tensor | NDArray[np.int64]) -> "Outlines":
        index = torch.as_tensor(rows)
        return Outlines(self.inputs[index], self.labels[index])


def outlines(split: str) -> Outlines:
    inputs, labels = load(split)
    return Outlines(torch.from_numpy(inputs), torch.from_numpy(labels))


def hold_out(labels: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to fit on and the rows held out, with each species split by `HOLD_OUT_RATIO`."""
    random = np.random.default_rng(HOLD_OUT_SEED)
    rows = [random.permutation(np.flatnonzero(labels.numpy() == label)) for label in np.unique(labels.numpy())]
    cuts = [round(HOLD_OUT_RATIO * len(row)) for row in rows]
    kept = [row[cut:] for row, cut in zip(rows, cuts, strict=True)]
    held = [row[:cut] for row, cut in zip(rows, cuts, strict=True)]
    return np.concatenate(kept), np.concatenate(held)


def augment(inputs: torch.Tensor, noise: float, random: torch.Generator) -> torch.Tensor:
    """Return the outlines rolled, half of them mirrored, with noise.

    The outline is closed: where it starts is arbitrary. A mirrored outline is the same leaf seen from below.
    """
    n, _, length = inputs.shape
    start = torch.randint(length, (n, 1), generator=random)
    direction = 1 - 2 * torch.randint(2, (n, 1), generator=random)
    index = (start + direction * torch.arange(length)) % length
    rolled = inputs.gather(2, index[:, None, :])
    return rolled + noise * torch.randn(rolled.shape, generator=random)


def rate_factor(step: int, steps: int, warm_up_ratio: float) -> float:
    """Return the learning rate's share of its peak: a linear rise, then half a cosine to zero."""
    rise = max(1, round(warm_up_ratio * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def batches(n: int, size: int, random: torch.Generator) -> list[torch.Tensor]:
    """Return one epoch's rows in random order, cut into whole batches (BatchNorm dislikes a small rest)."""
    return list(torch.split(torch.randperm(n, generator=random)[: n - n % size], size))


def fit(train: Outlines, seed: int, recipe: Recipe) -> nn.Module:
    """Return the network with averaged weights, in evaluation mode. Same seed, processor and torch: same weights."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = build()
    moving_mean = get_ema_multi_avg_fn(recipe.average_decay)  # type: ignore[no-untyped-call, unused-ignore]
    averaged = AveragedModel(network, multi_avg_fn=moving_mean)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * (len(train) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_factor(step, steps, recipe.warm_up_ratio))
    for epoch in range(recipe.epochs):
        for rows in batches(len(train), recipe.batch, random):
            loss = _step(network, train.take(rows), optimiser, recipe, random)
            schedule.step()
            averaged.update_parameters(network)
        LOG.debug("seed %d, epoch %d: loss %.4f", seed, epoch + 1, loss)
    fitted: nn.Module = averaged.module
    reestimate_statistics(fitted, train, recipe, random)
    return fitted.eval()


def _step(
    network: nn.Module, batch: Outlines, optimiser: torch.optim.Optimizer, recipe: Recipe, random: torch.Generator
) -> float:
    inputs = augment(batch.inputs, recipe.noise, random)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        logits = network(inputs)
    loss = cross_entropy(logits.float(), batch.labels, label_smoothing=recipe.label_smoothing)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    return loss.item()


def reestimate_statistics(network: nn.Module, train: Outlines, recipe: Recipe, random: torch.Generator) -> None:
    """Set the BatchNorm statistics to their mean over the training outlines: the averaged weights have none."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over all batches
    network.train()
    with torch.no_grad():
        for _ in range(recipe.reestimate_passes):
            for rows in batches(len(train), recipe.batch, random):
                network(augment(train.inputs[rows], 0.0, random))


def correct(network: nn.Module, outlines: Outlines) -> int:
    """Return how many outlines are put into the right class."""
    with torch.no_grad():
        return int((network(outlines.inputs).argmax(dim=1) == outlines.labels).sum())


@dataclass(frozen=True)
class Fitted:
    """One fit's result, kept beside its weights as JSON."""

    seed: int
    part: str  # "hold-out": fitted on four fifths, scored on the rest; "full": fitted on all, scored on the test split
    correct: int
    of: int
    minutes: float


def run(seed: int, part: str, recipe: Recipe, out: Path) -> Fitted:
    """Fit and score, or return what an earlier run left in `out`."""
    record = out / f"{part}-{seed}.json"
    if record.exists():
        return Fitted(**json.loads(record.read_text())["result"])
    start = time.monotonic()
    train, scored = parts(part)
    network = fit(train, seed, recipe)
    result = Fitted(seed, part, correct(network, scored), len(scored), round((time.monotonic() - start) / 60, 2))
    save_file(network.state_dict(), out / f"{part}-{seed}.safetensors")
    record.write_text(json.dumps({"result": asdict(result), "recipe": asdict(recipe)}, indent=2) + "\n")
    LOG.info("seed %d, %s: %d/%d in %.1f min", seed, part, result.correct, result.of, result.minutes)
    return result


def parts(part: str) -> tuple[Outlines, Outlines]:
    """Return what to fit on and what to score on."""
    train = outlines("train")
    if part == "full":
        return train, outlines("test")
    kept, held = hold_out(train.labels)
    return train.take(kept), train.take(held)


def chosen_seed(held_out: Sequence[Fitted]) -> int:
    """Return the seed that is best on the held-out training outlines, the lowest among equals; no test outline."""
    return min(held_out, key=lambda fitted: (-fitted.correct, fitted.seed)).seed


def export(chosen: int, out: Path) -> dict[str, Parity]:
    """Write the chosen seed's weights, ONNX and TFLite; compare the two with torch on test and golden outlines."""
    network = build().eval()
    network.load_state_dict(load_file(out / f"full-{chosen}.safetensors"))
    stem = out / "leaf_outline"
    save_file(network.state_dict(), stem.with_suffix(".safetensors"))
    inputs = np.concatenate([load("test")[0], golden()])
    write_onnx(network, torch.from_numpy(inputs[:2]), stem.with_suffix(".onnx"), TensorNames("outline", "logits"))
    write_tflite(network, torch.from_numpy(inputs[:1]), stem.with_suffix(".tflite"))
    reference = run_torch(network, inputs)
    return {
        "onnx": parity(reference, run_onnx(stem.with_suffix(".onnx"), inputs)),
        "tflite": parity(reference, run_tflite(stem.with_suffix(".tflite"), inputs)),
    }


def confusion(onnx: Path) -> list[list[int]]:
    """Return test outlines counted by species (row) and answer (column)."""
    inputs, labels = load("test")
    counts = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    np.add.at(counts, (labels, run_onnx(onnx, inputs).argmax(axis=1)), 1)
    return [[int(count) for count in row] for row in counts]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="train this seed only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default=Recipe.precision)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/leaf_outline"))
    return parser.parse_args()


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(epochs=options.epochs, precision=options.precision)
    metrics = commit(options.seeds if options.seed is None else [options.seed], recipe, options.out)
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    LOG.info("%s", json.dumps(metrics))


def commit(seeds: Sequence[int], recipe: Recipe, out: Path) -> dict[str, object]:
    """Fit every seed, choose one, export it; return all numbers that the card states."""
    held_out = [run(seed, "hold-out", recipe, out) for seed in seeds]
    chosen = chosen_seed(held_out)
    full = [run(seed, "full", recipe, out) for seed in seeds]
    files = export(chosen, out)
    return {
        "recipe": asdict(recipe),
        "chosen_seed": chosen,
        "hold_out": [asdict(fitted) for fitted in held_out],
        "test": [asdict(fitted) for fitted in full],
        "test_accuracy_mean": round(sum(fitted.correct / fitted.of for fitted in full) / len(full), 4),
        "confusion": confusion(out / "leaf_outline.onnx"),
        "parity": {name: asdict(result) for name, result in files.items()},
    }


if __name__ == "__main__":
    main()
