"""Training from beginning to end, on three kinds of waves."""

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from controller.compress.training.attacks.methods import Attack  # noqa: E402
from controller.compress.training.augment import Augment  # noqa: E402
from controller.compress.training.loop import Course, Lessons  # noqa: E402
from controller.compress.training.losses import Objective  # noqa: E402
from controller.compress.training.masks import Sparsity  # noqa: E402
from controller.compress.training.network.graph import Network  # noqa: E402
from controller.compress.training.settings import Settings  # noqa: E402
from controller.compress.training.views import kept, look, looked_at  # noqa: E402
from controller.convert.workers.frame import Unusable  # noqa: E402
from tests.unit.controller.compress.training.conftest import small_convolution, waves  # noqa: E402

LABELS = Objective("classification")
SETTINGS = Settings(steps=120, batch=30, rate=0.03, average=0.9)
X, Y = waves(np.random.default_rng(7), 300)
TARGETS = torch.nn.functional.one_hot(torch.from_numpy(Y), 3).float()


def fresh(seed: int = 2, **options: bool) -> Network:
    return Network(small_convolution(np.random.default_rng(seed), **options))


def accuracy(network: Network) -> float:
    x, y = waves(np.random.default_rng(8), 300)
    with torch.no_grad():
        return float((network(torch.from_numpy(x))[0].argmax(1).numpy() == y).mean())


@pytest.fixture(scope="module")
def teacher() -> Network:
    return Course(fresh(3), Lessons(X, TARGETS), SETTINGS, LABELS).run()


def test_labels_are_learned(teacher: Network) -> None:
    assert accuracy(fresh(3).eval()) < 0.7
    assert accuracy(teacher) > 0.9


def test_the_same_seed_gives_the_same_weights(teacher: Network) -> None:
    again = Course(fresh(3), Lessons(X, TARGETS), SETTINGS, LABELS).run()
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), teacher.parameters(), strict=True))


def test_a_teacher_alone_teaches(teacher: Network) -> None:
    objective = Objective("classification", alpha=0.0, temperature=2.0)
    student = Course(fresh(5), Lessons(X, None, teacher), SETTINGS, objective).run()
    assert accuracy(student) > 0.85


def test_features_are_followed(teacher: Network) -> None:
    settings = Settings(steps=120, batch=30, rate=0.03, average=0.9, features=1.0)
    course = Course(fresh(5), Lessons(X, TARGETS, teacher), settings, Objective("classification", alpha=0.5))
    assert accuracy(course.run()) > 0.85
    assert course._features.pairs == [("r", "r")]


def test_statistics_are_those_of_the_samples() -> None:
    network = Course(fresh(2, normalised=True), Lessons(X, TARGETS), SETTINGS, LABELS).run()
    assert accuracy(network) > 0.9
    with torch.no_grad():
        seen = network.values(torch.from_numpy(X), ["c"])["c"]
    assert torch.allclose(network.constant("mean"), seen.mean(dim=(0, 2)), atol=0.05)


def test_zeros_stay_zero_in_the_average_too() -> None:
    given = {"begin": 0.0, "end": 0.5, "frequency": 5, "initial": 0.0, "final": 0.5, "power": 3.0}
    sparsity = Sparsity.of({**given, "scope": "layer", "importance": "magnitude"}, SETTINGS.steps)
    course = Course(fresh(3), Lessons(X, TARGETS), SETTINGS, LABELS, sparsity)
    network = course.run()
    assert course.zeros_ratio == 0.5
    assert float((network.matrices()["head"] == 0).float().mean()) == 0.5
    assert accuracy(network) > 0.7


def test_the_sum_of_weights_shrinks_with_l1(teacher: Network) -> None:
    shrunk = Course(fresh(3), Lessons(X, TARGETS), Settings(steps=120, batch=30, rate=0.03, l1=0.05), LABELS).run()
    total = [sum(float(each.detach().abs().sum()) for each in one.matrices().values()) for one in (shrunk, teacher)]
    assert total[0] < 0.8 * total[1]


def test_attacks_are_learned_from() -> None:
    attack = Attack(0.4, 3, float(X.min()), float(X.max()))
    robust = Course(fresh(3), Lessons(X, TARGETS), SETTINGS, LABELS, attack=attack).run()
    plain = Course(fresh(3), Lessons(X, TARGETS), SETTINGS, LABELS).run()
    assert under(attack, robust) > under(attack, plain)


def under(attack: Attack, network: Network) -> float:
    x, y = waves(np.random.default_rng(8), 300)
    aims = torch.nn.functional.one_hot(torch.from_numpy(y), 3).float()
    random = torch.Generator().manual_seed(1)
    changed = attack.on(torch.from_numpy(x), lambda given: LABELS.hard(network(given)[0], aims), random)
    with torch.no_grad():
        return float((network(changed)[0].argmax(1).numpy() == y).mean())


def test_a_rate_that_is_too_large_is_said() -> None:
    broken = Lessons(np.full_like(X, np.nan), TARGETS)
    with pytest.raises(Unusable, match="take a rate below"):
        Course(fresh(3), broken, SETTINGS, LABELS).run()


def test_views_are_taught_from_what_the_teacher_said_once(teacher: Network) -> None:
    fresh_views = Lessons(X[:100], TARGETS[:100], teacher, Augment(roll=True, noise=0.05))
    lessons = looked_at(fresh_views, 3, seed=1)
    assert lessons.inputs.shape == (300, 1, 12)
    assert lessons.known is not None
    with torch.no_grad():
        assert torch.allclose(teacher(torch.from_numpy(lessons.inputs[200:210]))[0], lessons.known[200:210], atol=1e-5)
    asked: list[int] = []
    told = lessons.teacher
    assert told is not None
    told.register_forward_hook(lambda *_: asked.append(1))
    student = Course(fresh(5), lessons, SETTINGS, Objective("classification", alpha=0.2)).run()
    assert accuracy(student) > 0.8
    assert asked == []


def test_no_more_views_are_made_than_training_looks_at(teacher: Network) -> None:
    lessons = looked_at(Lessons(X, TARGETS, teacher), 10, seed=1, at_most=450)
    assert len(lessons.inputs) == 450
    assert lessons.targets is not None
    assert sorted(map(tuple, lessons.inputs[:300, 0])) == sorted(map(tuple, X[:, 0]))  # each once before any is again


def test_kept_views_are_the_lessons_of_whoever_opens_them(tmp_path: Path, teacher: Network) -> None:
    onnx.save(teacher.written(), tmp_path / "teacher.onnx")
    np.save(tmp_path / "samples.npy", X)
    np.save(tmp_path / "labels.npy", TARGETS.argmax(1).numpy())
    order = {
        "inputs": str(tmp_path / "samples.npy"), "targets": str(tmp_path / "labels.npy"), "classes": 3,
        "teacher": str(tmp_path / "teacher.onnx"), "augment": {"roll": True}, "views": 2, "count": 500, "seed": 1,
        "threads": 1, "folder": str(tmp_path),
    }  # fmt: skip
    assert look(order) == {"views": 500}
    lessons = kept(tmp_path, order)
    assert lessons.targets is not None
    assert lessons.known is not None
    assert lessons.teacher is not None
    assert lessons.augment == Augment()
    with torch.no_grad():
        said = lessons.teacher(torch.from_numpy(np.array(lessons.inputs)))[0]
    assert torch.allclose(said, lessons.known, atol=1e-5)
    assert torch.equal(lessons.targets[:5].argmax(1), said[:5].argmax(1))


def test_views_without_a_teacher_are_refused() -> None:
    with pytest.raises(Unusable, match="set views to 0"):
        looked_at(Lessons(X, TARGETS), 2, seed=1)
