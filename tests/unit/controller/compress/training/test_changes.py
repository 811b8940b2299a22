"""Changes of samples, attacks and masks."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from controller.compress.training.attacks.methods import Attack  # noqa: E402
from controller.compress.training.augment import Augment, moved, rolled  # noqa: E402
from controller.compress.training.masks import Masks, Sparsity  # noqa: E402
from controller.compress.training.network.graph import Network  # noqa: E402
from controller.compress.training.settings import Settings  # noqa: E402
from controller.convert.workers.frame import Unusable  # noqa: E402
from tests.unit.controller.compress.training.conftest import small_convolution  # noqa: E402


def random() -> Any:
    return torch.Generator().manual_seed(3)


def test_rolled_by_each_samples_own_number() -> None:
    x = torch.arange(8.0).reshape(2, 1, 4)
    assert rolled(x, torch.tensor([1, 3])).tolist() == [[[1, 2, 3, 0]], [[7, 4, 5, 6]]]


def test_moved_with_edges_repeated() -> None:
    x = torch.arange(3.0).reshape(1, 1, 3)
    assert moved(x, [0], 1).tolist() == [[[0, 0, 1]]]
    assert moved(x, [2], 1).tolist() == [[[1, 2, 2]]]


def test_a_flip_reverses_half_of_the_samples() -> None:
    x = torch.arange(3.0).reshape(1, 1, 3).repeat(400, 1, 1)
    turned = (Augment(flip=True).changed(x, random())[:, 0, 0] == 2).sum()
    assert 150 < int(turned) < 250


def test_noise_has_its_deviation() -> None:
    assert float(Augment(noise=0.5).changed(torch.zeros(50, 1, 100), random()).std()) == pytest.approx(0.5, rel=0.05)


def test_mixing_keeps_samples_and_targets_together() -> None:
    x = torch.eye(4)
    mixed, targets = Augment(mixup=1.0).mixed(x, x.clone(), random())
    assert torch.equal(mixed, targets)
    assert torch.allclose(mixed.sum(dim=1), torch.ones(4))
    assert not torch.equal(mixed, x)


def test_tables_cannot_be_rolled() -> None:
    Augment(noise=0.1, mixup=0.2).check((7,))
    with pytest.raises(Unusable, match="noise and mixup are left"):
        Augment(roll=True).check((7,))


def test_fgsm_goes_the_whole_way_up_the_slope() -> None:
    slope = torch.tensor([[1.0, -2.0, 0.0]])
    changed = Attack(0.5).on(torch.zeros(1, 3), lambda x: (x * slope).sum(), random())
    assert changed.tolist() == [[0.5, -0.5, 0.0]]


def test_pgd_stays_near_and_in_range_and_does_more() -> None:
    x = torch.rand(20, 4, generator=random())

    def loss(given: Any) -> Any:
        return -((given - x - 0.06) ** 2).sum()

    fgsm, pgd = (Attack(0.1, steps, 0.0, 1.0).on(x, loss, random()) for steps in (1, 20))
    assert float((pgd - x).abs().max()) <= 0.1 + 1e-6
    assert float(pgd.min()) >= 0
    assert float(pgd.max()) <= 1
    assert float(loss(pgd)) > float(loss(fgsm))


def test_zeros_grow_with_the_schedule_and_stay() -> None:
    network = Network(small_convolution(np.random.default_rng(1)))
    given = {"begin": 0.0, "end": 0.5, "frequency": 1, "initial": 0.0, "final": 0.5, "power": 3.0}
    sparsity = Sparsity.of({**given, "scope": "layer", "importance": "magnitude"}, steps=40)
    masks = Masks()
    masks.choose(network, sparsity, 10)
    assert masks.zeros_ratio == pytest.approx(0.5 * (1 - 0.5**3), abs=0.05)
    masks.choose(network, sparsity, 20)
    masks.apply(network)
    assert float((network.matrices()["kernel"] == 0).float().mean()) == 0.5
    assert Masks.of_zeros(network).kept.keys() == {"kernel", "head"}


def test_importance_by_the_gradient_looks_at_the_gradient() -> None:
    network = Network(small_convolution(np.random.default_rng(1)))
    head = network.matrices()["head"]
    head.grad = torch.zeros_like(head)
    head.grad[0] = 1.0
    given = {"begin": 0.0, "end": 0.5, "frequency": 1, "initial": 0.0, "final": 0.75, "power": 3.0}
    sparsity = Sparsity.of({**given, "scope": "layer", "importance": "taylor"}, steps=2)
    masks = Masks()
    masks.choose(network, sparsity, 1)
    assert masks.kept["head"].tolist() == [[1.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3]


def test_the_rate_rises_and_falls() -> None:
    settings = Settings(steps=100, batch=10, rate=1.0, warm_up=0.1)
    rates = [settings.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 0.001
