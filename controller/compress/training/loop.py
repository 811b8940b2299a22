"""Train a network: batches, losses, steps, and the moving average of its weights.

    Course(network, lessons, settings, objective).run()

Decides: the order of things in a step. Leaves out: formulas (`losses.py`), changes of samples (`augment.py`), zeros
(`masks.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from controller.compress.training.attacks.methods import Attack
from controller.compress.training.augment import Augment
from controller.compress.training.features import Features
from controller.compress.training.losses import Objective, absolute_size
from controller.compress.training.masks import Masks, Sparsity
from controller.compress.training.network.graph import Network
from controller.compress.training.settings import Settings
from controller.convert.workers.frame import Unusable

TOLD = 20
"""Times that the loss is told, and looked at."""
REESTIMATED = 2048
"""Samples over which running statistics are taken anew, at least."""


@dataclass(frozen=True)
class Lessons:
    """What is learned from. inputs: shape (n, ...), float32, may be a memory map. targets: probabilities of classes or
    numbers, shape (n, k); None: only the teacher is followed. teacher: may be left out where there are targets. known:
    the teacher's first outputs for the inputs as they are, where they were computed beforehand (`views.py`)."""

    inputs: NDArray[np.float32]
    targets: Tensor | None = None
    teacher: Network | None = None
    augment: Augment = field(default_factory=Augment)
    known: Tensor | None = None

    def batch(self, rows: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Return changed inputs, and their targets."""
        chosen = torch.from_numpy(np.ascontiguousarray(self.inputs[rows.numpy()]))
        targets = None if self.targets is None else self.targets[rows]
        return self.augment.mixed(self.augment.changed(chosen, random), targets, random)


@dataclass
class Course:
    """One training from beginning to end. Same seed, processor, threads and torch: same weights."""

    network: Network
    lessons: Lessons
    settings: Settings
    objective: Objective
    sparsity: Sparsity | None = None
    attack: Attack | None = None
    seed: int = 0
    tell: Callable[[int, float], None] = lambda _step, _loss: None

    def run(self) -> Network:
        """Return the trained network, in evaluation mode.

        Raises:
            Unusable: The loss is no number any more: the rate is too large.
        """
        torch.manual_seed(self.seed)
        self._random = torch.Generator().manual_seed(self.seed)
        self._masks = Masks.of_zeros(self.network)
        self._features = Features.of(self.network, self.lessons, self.settings.features)
        self._optimiser = torch.optim.AdamW(self._groups(), lr=self.settings.rate)
        kept = _average(self.network, self.settings.average)
        self.network.train()
        for step, rows in enumerate(self._orders()):
            loss = self._step(rows, step)
            if kept is not None:
                kept.update_parameters(self.network)
            if step * TOLD // self.settings.steps != (step - 1) * TOLD // self.settings.steps:
                self._check(loss, step)
        trained: Network = self.network if kept is None else kept.module
        return self._finished(trained)

    def _check(self, loss: Tensor, step: int) -> None:
        value = float(loss.detach())
        if not np.isfinite(value):
            raise Unusable(f"training went astray by step {step + 1}: take a rate below {self.settings.rate:g}")
        self.tell(step, value)

    def _orders(self) -> Iterator[Tensor]:
        """Yield the rows of each step: all samples in an order of chance, again and again; a rest waits its turn."""
        count, batch, step = len(self.lessons.inputs), self.settings.batch, 0
        whole = count - count % batch if count > batch else count
        while True:
            order = torch.randperm(count, generator=self._random)[:whole]
            for rows in torch.split(order, batch):
                if step == self.settings.steps:
                    return
                yield rows
                step += 1

    def _step(self, rows: Tensor, step: int) -> Tensor:
        inputs, targets = self.lessons.batch(rows, self._random)
        known = self._known(inputs, rows)  # of inputs as they are: the right answer does not change under attack
        loss = self._loss(self._attacked(inputs, targets, known), targets, known)
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.rate_at(step)
        self._optimiser.step()
        if self.sparsity is not None:
            self._masks.choose(self.network, self.sparsity, step)
        self._masks.apply(self.network)
        return loss

    def _loss(self, inputs: Tensor, targets: Tensor | None, known: dict[str, Tensor]) -> Tensor:
        values = self.network.values(inputs, [*self.network.outputs, *self._features.student_names])
        outputs = [values[name] for name in self.network.outputs]
        taught = [known.get(name) for name in self.lessons.teacher.outputs] if self.lessons.teacher else [None]
        loss = self.objective.loss(outputs[0], targets, taught[0])
        for own, other in zip(outputs[1:], taught[1:], strict=False):
            loss = loss + self.objective.soft(own, other) if other is not None else loss
        loss = loss + self._features.loss(values, known)
        return loss + self.settings.l1 * absolute_size(self.network.matrices().values()) if self.settings.l1 else loss

    def _known(self, inputs: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Return what the teacher says of the inputs."""
        teacher = self.lessons.teacher
        if teacher is None:
            return {}
        if self.lessons.known is not None:
            return {teacher.outputs[0]: self.lessons.known[rows]}
        with torch.no_grad():
            return teacher.values(inputs, [*teacher.outputs, *self._features.teacher_names])

    def _attacked(self, inputs: Tensor, targets: Tensor | None, known: dict[str, Tensor]) -> Tensor:
        """Return inputs of which the second half was changed so that the network errs."""
        if self.attack is None:
            return inputs
        half, teacher = len(inputs) // 2, self.lessons.teacher
        aims = None if targets is None else targets[half:]
        taught = known[teacher.outputs[0]][half:] if teacher is not None else None
        changed = self.attack.on(
            inputs[half:], lambda x: self.objective.loss(self.network(x)[0], aims, taught), self._random
        )
        return torch.cat([inputs[:half], changed])

    def _groups(self) -> list[dict[str, Any]]:
        named = dict(self.network.weights.items())
        matrices = {id(each) for each in self.network.matrices().values()}
        large = [each for each in named.values() if id(each) in matrices]
        small = [each for each in named.values() if id(each) not in matrices]
        more = list(self._features.parameters())
        return [
            {"params": large, "weight_decay": self.settings.decay},
            {"params": [*small, *more], "weight_decay": 0.0},
        ]

    def _finished(self, network: Network) -> Network:
        self._masks.apply(network)
        self.zeros_ratio = self._masks.zeros_ratio
        if network.running:
            _reestimate(network, self.lessons, self.settings.batch, self._random)
        network.eval()
        return network

    zeros_ratio: float = 0.0


def _average(network: Network, ratio: float) -> Any:
    """Return the moving average of a network's weights, or None."""
    if not ratio:
        return None
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    moving = get_ema_multi_avg_fn(ratio)  # type: ignore[no-untyped-call, unused-ignore]
    return AveragedModel(network, multi_avg_fn=moving)


def _reestimate(network: Network, lessons: Lessons, batch: int, random: torch.Generator) -> None:
    """Set running statistics to their mean over samples: those of averaged weights are not what batches left behind."""
    count, done = len(lessons.inputs), 0
    network.train()
    with torch.no_grad():
        while done * batch < max(REESTIMATED, count) and done < 4 * -(-REESTIMATED // batch):
            rows = torch.randperm(count, generator=random)[: max(2, min(batch, count))]
            network.momentum = 1 / (done + 1)
            network(lessons.batch(rows, random)[0])
            done += 1
