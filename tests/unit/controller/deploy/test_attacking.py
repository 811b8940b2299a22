"""Attacks of a deploy: made only where a class's goals ask, once for each strength, and reasons kept."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from controller.choose.goals import Goals
from controller.compress.robustness import Robustness
from controller.deploy.context import Made
from controller.deploy.stages import attacking
from controller.errors import ConfigurationError, ConverterMissing, UnusableModel


def goals(epsilon: float | None) -> Goals:
    limit = None if epsilon is None else 0.05
    return Goals(max_accuracy_drop_ratio=0.02, max_attacked_drop_ratio=limit, attack_epsilon=epsilon)


def context(*epsilons: float | None) -> Any:
    """A deploy to a class for each of `epsilons`; `c` could not be evaluated."""
    classes = [SimpleNamespace(name=str(number)) for number in range(len(epsilons))]
    workload = SimpleNamespace(goals_of=lambda name: goals(epsilons[int(name)]))
    model = SimpleNamespace(kind="classification")
    variants: list[Any] = [SimpleNamespace(name=name) for name in "abc"]
    made = Made(variants=variants, offline=dict.fromkeys("ab"))  # type: ignore[arg-type]  # no results are looked at
    said: list[str] = []
    return SimpleNamespace(
        settings=SimpleNamespace(classes=classes, workload=workload, model=model),
        made=made,
        samples=lambda: [0] * 400,
        cache=None,
        progress=SimpleNamespace(say=said.append),
        said=said,
    )


def test_every_evaluated_variant_is_attacked_once_for_each_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float]] = []

    def attack(variant: Any, _: Any, epsilon: float, __: Any) -> Robustness:
        asked.append((variant.name, epsilon))
        if variant.name == "b":
            raise UnusableModel("attacks need a classifier in ONNX")
        return Robustness({"none": np.ones(4, bool), "pgd": np.array([1, 0, 1, 1], bool)}, epsilon)

    monkeypatch.setattr(attacking, "robustness", attack)
    deploy = context(0.1, None, 0.2, 0.1)
    attacking.attack_all(deploy)
    assert asked == [("a", 0.1), ("b", 0.1), ("a", 0.2), ("b", 0.2)]
    found = deploy.made.attacked
    assert found["a", 0.1].judgement.metrics == {"pgd_accuracy": 0.75}
    assert (found["b", 0.2].judgement, found["b", 0.2].because) == (None, "attacks need a classifier in ONNX")
    assert deploy.said[:2] == [
        "a: right in 75.0% under attack (epsilon 0.1)",
        "b was not attacked: attacks need a classifier in ONNX",
    ]


def test_nothing_is_attacked_where_no_class_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "robustness", lambda *_: pytest.fail("attacked"))
    monkeypatch.setattr(attacking, "required", lambda *_: pytest.fail("looked for torch"))
    deploy = context(None)
    attacking.check_attacks(deploy.settings, deploy.samples())
    attacking.attack_all(deploy)
    assert deploy.made.attacked == {}


def test_the_environment_and_the_samples_are_looked_at_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ConverterMissing(f"install {name}")

    monkeypatch.setattr(attacking, "required", missing)
    deploy = context(0.1)
    with pytest.raises(ConverterMissing, match="install torch"):
        attacking.check_attacks(deploy.settings, deploy.samples())
    with pytest.raises(ConfigurationError, match="cannot be shown with 20 attacked samples"):
        attacking.check_attacks(deploy.settings, [0] * 20)  # type: ignore[arg-type]  # only counted
