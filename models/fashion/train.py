"""Train `fashion`, choose the seed to commit without the test pictures, and export it.

Decides: the training recipe and the rule that chooses the seed. Leaves out: the architecture (`model.py`), the file
formats (`models/formats.py`). Run it from the repository's root, with the extra `train` and Debian's package
`dataset-fashion-mnist`; fits that an earlier run left in the output folder are used again.

    python -m models.fashion.train --seeds 0 1 2 --out build/fashion
"""

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, pad

from models.fashion.data import CLASSES, golden, load
from models.fashion.model import build
from models.formats import Parity, TensorNames, parity, run_onnx, run_tflite, run_torch, write_onnx, write_tflite

LOG = logging.getLogger("fashion")
MEAN, DEVIATION = 0.286, 0.353  # of the training pictures' pixels, 0 to 1; `model.yaml` declares the same
HELD_OUT_PER_CLASS = 500  # the last ones of each class in the archive's order: no seed fits on them


@dataclass(frozen=True)
class Recipe:
    epochs: int = 8
    batch: int = 128
    peak_rate: float = 8e-3
    weight_decay: float = 2e-2
    label_smoothing: float = 0.05
    shift: int = 1  # pixels at most, up, down, left and right; half of the pictures are mirrored besides


@dataclass(frozen=True)
class Pictures:
    """Scaled pictures of shape (n, 1, 28, 28) and labels of shape (n,)."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: torch.Tensor | NDArray[np.int64]) -> "Pictures":
        index = torch.as_tensor(rows)
        return Pictures(self.inputs[index], self.labels[index])


def scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the network's inputs (n, 1, 28, 28) for grey pixels (n, 28, 28), as `model.yaml` declares it."""
    return np.asarray((pixels[:, np.newaxis] / np.float32(255) - MEAN) / DEVIATION, dtype=np.float32)


def pictures(split: str) -> Pictures:
    pixels, labels = load(split)
    return Pictures(torch.from_numpy(scaled(pixels)), torch.from_numpy(labels))


def hold_out(labels: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to fit on and the rows held out, in the archive's order."""
    rows = [np.flatnonzero(labels.numpy() == label) for label in range(CLASSES)]
    held = np.sort(np.concatenate([row[-HELD_OUT_PER_CLASS:] for row in rows]))
    return np.setdiff1d(np.arange(len(labels)), held), held


def augment(inputs: torch.Tensor, shift: int, random: torch.Generator) -> torch.Tensor:
    """Return each picture moved by up to `shift` pixels, black moving in, half of them mirrored."""
    n, _, rows, columns = inputs.shape
    black = -MEAN / DEVIATION
    wide = pad(inputs, (shift, shift, shift, shift), value=black)
    down, right = torch.randint(2 * shift + 1, (2, n, 1), generator=random)
    mirrored = torch.randint(2, (n, 1), generator=random).bool()
    across = torch.where(mirrored, torch.arange(columns - 1, -1, -1), torch.arange(columns)) + right
    index = (torch.arange(rows) + down)[:, :, None] * wide.shape[3] + across[:, None, :]
    return wide.flatten(1).gather(1, index.flatten(1)).view(n, 1, rows, columns)


def fit(train: Pictures, seed: int, recipe: Recipe) -> nn.Module:
    """Return the fitted network, in evaluation mode. Same seed, processor and torch: same weights."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = build().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * (len(train) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.peak_rate, total_steps=steps, pct_start=0.2)
    for epoch in range(recipe.epochs):
        network.train()
        order = torch.randperm(len(train), generator=random)
        for rows in torch.split(order[: len(train) - len(train) % recipe.batch], recipe.batch):
            loss = _step(network, train.take(rows), optimiser, recipe, random)
            schedule.step()
        LOG.info("seed %d, epoch %d: loss %.4f", seed, epoch + 1, loss)
    return network.to(memory_format=torch.contiguous_format).eval()


def _step(
    network: nn.Module, batch: Pictures, optimiser: torch.optim.Optimizer, recipe: Recipe, random: torch.Generator
) -> float:
    inputs = augment(batch.inputs, recipe.shift, random).contiguous(memory_format=torch.channels_last)
    loss = cross_entropy(network(inputs), batch.labels, label_smoothing=recipe.label_smoothing)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    return loss.item()


def correct(network: nn.Module, scored: Pictures) -> int:
    """Return how many pictures are put into the right class."""
    with torch.no_grad():
        answers = torch.cat([network(part).argmax(dim=1) for part in torch.split(scored.inputs, 500)])
    return int((answers == scored.labels).sum())


@dataclass(frozen=True)
class Fitted:
    """One fit's result, kept beside its weights as JSON: pictures put into the right class."""

    seed: int
    held_out: int
    of_held_out: int
    test: int
    of_test: int
    processor_minutes: float


def run(seed: int, recipe: Recipe, out: Path) -> Fitted:
    """Fit and score, or return what an earlier run of the same recipe left in `out`."""
    record = out / f"seed-{seed}.json"
    if record.exists() and (kept := json.loads(record.read_text()))["recipe"] == asdict(recipe):
        return Fitted(**kept["result"])
    start = time.process_time()
    known, test = pictures("train"), pictures("all-test")
    kept_rows, held_rows = hold_out(known.labels)
    network = fit(known.take(kept_rows), seed, recipe)
    minutes = round((time.process_time() - start) / 60, 1)
    held = known.take(held_rows)
    result = Fitted(seed, correct(network, held), len(held), correct(network, test), len(test), minutes)
    save_file(network.state_dict(), out / f"seed-{seed}.safetensors")
    record.write_text(json.dumps({"result": asdict(result), "recipe": asdict(recipe)}, indent=2) + "\n")
    LOG.info("seed %d: %d/%d held out, in %.1f min", seed, result.held_out, result.of_held_out, minutes)
    return result


def chosen_seed(fits: Sequence[Fitted]) -> int:
    """Return the seed that is best on the held-out training pictures, the lowest among equals; no test picture."""
    return min(fits, key=lambda fitted: (-fitted.held_out, fitted.seed)).seed


def export(chosen: int, out: Path) -> dict[str, Parity]:
    """Write the chosen seed's weights, ONNX and TFLite; compare the two with torch on test and golden pictures."""
    network = build().eval()
    network.load_state_dict(load_file(out / f"seed-{chosen}.safetensors"))
    stem = out / "fashion"
    save_file(network.state_dict(), stem.with_suffix(".safetensors"))
    inputs = scaled(np.concatenate([load("test")[0], golden()]))
    write_onnx(network, torch.from_numpy(inputs[:2]), stem.with_suffix(".onnx"), TensorNames("picture", "logits"))
    write_tflite(network, torch.from_numpy(inputs[:1]), stem.with_suffix(".tflite"))
    reference = run_torch(network, inputs)
    return {
        "onnx": parity(reference, run_onnx(stem.with_suffix(".onnx"), inputs)),
        "tflite": parity(reference, run_tflite(stem.with_suffix(".tflite"), inputs)),
    }


def confusion(onnx: Path) -> list[list[int]]:
    """Return the test pictures on which variants are judged, counted by class (row) and answer (column)."""
    pixels, labels = load("test")
    counts = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    np.add.at(counts, (labels, run_onnx(onnx, scaled(pixels)).argmax(axis=1)), 1)
    return [[int(count) for count in row] for row in counts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/fashion"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    metrics = commit(options.seeds, Recipe(epochs=options.epochs), options.out)
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    LOG.info("%s", json.dumps(metrics))


def commit(seeds: Sequence[int], recipe: Recipe, out: Path) -> dict[str, object]:
    """Fit every seed, choose one, export it; return all numbers that the card states."""
    fits = [run(seed, recipe, out) for seed in seeds]
    chosen = chosen_seed(fits)
    files = export(chosen, out)
    answers = confusion(out / "fashion.onnx")
    return {
        "recipe": asdict(recipe),
        "chosen_seed": chosen,
        "fits": [asdict(fitted) for fitted in fits],
        "test_accuracy_mean": round(sum(fitted.test / fitted.of_test for fitted in fits) / len(fits), 4),
        "judged": {"correct": sum(answers[one][one] for one in range(CLASSES)), "of": sum(map(sum, answers))},
        "confusion": answers,
        "parity": {name: asdict(result) for name, result in files.items()},
    }


if __name__ == "__main__":
    main()
