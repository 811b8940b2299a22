"""Prune a Keras 3 model by magnitude while it is trained, on a polynomial-decay schedule. Copy it and change it.

It needs Keras and numpy alone, so it runs wherever you train; the converter environment `tensorflow` has both:

    python keras_pruning.py digits.keras digits.npz pruned.keras
    controller model import pruned.keras --data digits.npz

The kernels of convolutions and dense layers are pruned, never biases, normalisation, the last layer, or frozen ones.
The sparsity grows as `Schedule` says (Zhu and Gupta 2017, arXiv:1710.01878). At each choice the smallest weights of a
layer go, and masks are laid on after every step of the optimiser, whose momentum would bring the weights back.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

PRUNED = ("Conv1D", "Conv2D", "DepthwiseConv2D", "Dense")


@dataclass(frozen=True)
class Schedule:
    """Ratio of zeros over the optimiser's steps: from `initial` at `begin` to `final` at `end`, fast and then slower.

    frequency: steps between two choices of which weights go. `thresher` has the same as PolynomialDecay.
    """

    begin: int
    end: int
    frequency: int
    initial: float = 0.0
    final: float = 0.5

    def sparsity(self, step: int) -> float:
        left = 1.0 - min(max((step - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.final + (self.initial - self.final) * left**3 if step >= self.begin else 0.0

    def chooses_at(self, step: int) -> bool:
        within = self.begin <= step <= self.end
        return within and ((step - self.begin) % self.frequency == 0 or step == self.end)


class MagnitudePruning(keras.callbacks.Callback):
    """Keep a mask for each pruned kernel, choose it anew by the schedule, and lay it on after every step."""

    def __init__(self, schedule: Schedule, kernels: dict) -> None:
        super().__init__()
        self.schedule, self.kernels, self.step = schedule, kernels, 0
        self.masks = {name: np.ones(kernel.shape, np.float32) for name, kernel in kernels.items()}

    def on_train_batch_end(self, batch, logs=None) -> None:  # noqa: ARG002
        for name, kernel in self.kernels.items():
            if self.schedule.chooses_at(self.step):
                self.masks[name] = mask(kernel.numpy(), self.schedule.sparsity(self.step))
            kernel.assign(kernel * self.masks[name])
        self.step += 1


def mask(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Return 0 for the smallest weights, as many as `sparsity` asks, and 1 for the others. Zeros are the smallest."""
    count = round(sparsity * weights.size)
    kept = np.ones(weights.size, np.float32)
    kept[np.argsort(np.abs(weights), axis=None, kind="stable")[:count]] = 0.0
    return kept.reshape(weights.shape)


def prunable(model: keras.Model) -> dict:
    """Return the kernels to prune by their layers' names: all but the last one, which is small and matters most."""
    found = [each for each in layers_of(model) if type(each).__name__ in PRUNED and each.trainable]
    return {each.name: each.kernel for each in found[:-1]}


def layers_of(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield every layer, those of models within the model too."""
    for each in model.layers:
        if isinstance(each, keras.Model):
            yield from layers_of(each)
        else:
            yield each


def sparsity_of(kernels: dict) -> dict[str, float]:
    return {name: float(np.mean(kernel.numpy() == 0.0)) for name, kernel in kernels.items()}


def accuracy(model: keras.Model, inputs: np.ndarray, labels: np.ndarray) -> str:
    right = int(np.sum(np.argmax(model.predict(inputs, verbose=0), axis=-1) == labels.reshape(-1)))
    return f"{right}/{len(labels)} = {right / len(labels):.4f}"


def main() -> None:
    options = arguments()
    keras.utils.set_random_seed(options.seed)
    model = keras.models.load_model(options.model)
    with np.load(options.data) as data:
        train, test = (data["train_inputs"], data["train_labels"]), (data["inputs"], data["labels"])
    steps = options.epochs * -(-len(train[0]) // options.batch)
    begin, end = round(options.begin * steps), min(round(options.end * steps), steps - 1)
    if not 0 <= begin < end or options.frequency < 1:
        raise SystemExit(f"--begin {options.begin} --end {options.end}: of {steps} steps, none is left to prune in")
    schedule = Schedule(begin, end, options.frequency, options.initial, options.final)
    kernels = prunable(model)
    print(f"{steps} steps; sparsity {schedule.initial} to {schedule.final} from step {begin} to {end}")
    print(f"accuracy before {accuracy(model, *test)}")
    model.compile(keras.optimizers.Adam(options.rate), loss="sparse_categorical_crossentropy")
    pruning = MagnitudePruning(schedule, kernels)
    model.fit(*train, batch_size=options.batch, epochs=options.epochs, verbose=0, callbacks=[pruning])
    print(f"accuracy after  {accuracy(model, *test)}")
    for name, ratio in sparsity_of(kernels).items():
        print(f"sparsity {name}: {ratio:.4f} of {kernels[name].numpy().size} weights")
    model.save(options.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help=".keras file of a trained classifier that ends in softmax")
    parser.add_argument("data", type=Path, help=".npz with inputs, labels, train_inputs, train_labels")
    parser.add_argument("out", type=Path, help=".keras file to write")
    parser.add_argument("--initial", type=float, default=0.0, help="sparsity at the beginning")
    parser.add_argument("--final", type=float, default=0.5, help="sparsity at the end")
    parser.add_argument("--begin", type=float, default=0.0, help="where pruning begins, as a ratio of all steps")
    parser.add_argument("--end", type=float, default=0.7, help="where it ends; the steps after it mend what was lost")
    parser.add_argument("--frequency", type=int, default=10, help="steps between two choices of masks")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
