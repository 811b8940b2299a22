"""Recipes with passes that train: which make sense, what is said where nothing can train, and what comes out.

Not one of them imports PyTorch: the passes start it in the converter environment.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from pydantic import ValidationError

from controller.compress.build import build_wanted
from controller.compress.cache import PassCache
from controller.compress.materials.training import INPUTS, TARGETS, TEACHER, Material, kept_material
from controller.compress.materials.views import count_for
from controller.compress.recipe import Recipe
from controller.compress.robustness import robustness
from controller.compress.variant import FailedVariant, Variant, Wanted, baseline_variant
from controller.convert.environments.places import environment
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples, evaluation_samples, training_samples
from tests.unit.controller.compress.small_models import MODEL_YAML, run, series, write_folder

needs_torch = pytest.mark.skipif(
    environment("torch") is None, reason="the converter environment torch is not installed"
)


def recipe(*passes: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"version": 1, "name": "taught", "formats": ["onnx"], "passes": list(passes)})


def build(root: Path, *passes: dict[str, Any], yaml: str = MODEL_YAML) -> Variant | FailedVariant:
    model = ModelFolder.load(write_folder(root / "model", yaml))
    calibration = calibration_samples(model, root / "samples")
    wanted = [Wanted(recipe(*passes), "onnx", "onnxruntime")]
    cache = PassCache(root / "cache")
    return build_wanted(model, wanted, calibration, cache, lambda *_: None, datasets=root / "samples")[0]


def test_pruning_and_training_may_take_turns() -> None:
    turn: list[dict[str, Any]] = [{"prune_channels": {"amount": 0.3}}, {"distill": {}}]
    assert recipe({"simplify": {}}, *turn, *turn).pass_names[-1] == "distill"


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ([{"quantize_aware": {}}], "quantize_aware comes right after quantize_static, and here after nothing"),
        ([{"quantize_static": {}}, {"distill": {}}], "distill comes after quantize_static"),
        ([{"gradual_prune": {"begin": 0.7, "end": 0.5}}], "pruning ends after it begins"),
        ([{"gradual_prune": {"initial": 0.7, "final": 0.5}}], "zeros grow"),
        ([{"fine_tune": {"temperature": 2}}], "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(passes: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(*passes)


def test_material_is_what_the_model_takes_and_what_it_is_to_give(tmp_path: Path) -> None:
    yaml = MODEL_YAML.replace("train_labels: train_labels", "train_labels: train_labels, augment: {roll: true}")
    model = ModelFolder.load(write_folder(tmp_path / "model", yaml))
    folder, _ = kept_material(model, training_samples(model, tmp_path / "samples"), PassCache(tmp_path / "cache"))
    inputs, known = np.load(folder / INPUTS), Material.read(folder)
    assert inputs.shape == (120, 1, 64)
    assert np.abs(inputs.mean(axis=2)).max() < 1e-5  # z-scores, as the model takes them
    assert np.array_equal(np.load(folder / TARGETS), series(120, seed=2)[1])
    assert (known.classes, known.probabilities, known.labelled, known.augment) == (3, False, True, {"roll": True})
    assert onnx.load(folder / TEACHER) == onnx.load(model.file("onnx"))


def test_targets_are_in_the_unit_of_the_models_outputs(tmp_path: Path) -> None:
    """Labels in the user's unit, outputs before `scale` and `offset`: (label - offset) / scale."""
    yaml = MODEL_YAML.replace(
        "kind: classification, labels: [slow, middle, fast]", "kind: regression, scale: [4.0], offset: [1.0]"
    )
    model = ModelFolder.load(write_folder(tmp_path / "model", yaml.replace("kind: classification", "kind: regression")))
    train = series(12, seed=2)[0]
    labels = np.tile(np.array([[1.0, 3.0, 5.0]], np.float32), (12, 1))
    path = model.root / "samples.npz"
    np.savez(path, inputs=train, labels=labels, train_inputs=train, train_labels=labels)
    folder, _ = kept_material(model, training_samples(model, tmp_path / "samples"), PassCache(tmp_path / "cache"))
    assert np.load(folder / TARGETS)[0].tolist() == [0.0, 0.5, 1.0]
    assert Material.read(folder).classes is None


def test_without_the_environment_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRESHER_CONVERTERS", str(tmp_path / "none"))
    made = build(tmp_path, {"distill": {}})
    assert isinstance(made, FailedVariant)
    assert made.pass_name == "distill"
    assert "controller model converters install torch" in made.because


def test_without_samples_it_says_what_to_add(tmp_path: Path) -> None:
    model = ModelFolder.load(write_folder(tmp_path / "model"))
    wanted = [Wanted(recipe({"fine_tune": {}}), "onnx", "onnxruntime")]
    (made,) = build_wanted(model, wanted, np.empty((0, 1, 64)), PassCache(tmp_path / "cache"), lambda *_: None)
    assert isinstance(made, FailedVariant)
    assert "fine_tune trains: no samples are loaded here" in made.because


@needs_torch
@pytest.mark.long
def test_a_pruned_network_is_taught_by_what_it_was(tmp_path: Path) -> None:
    pruned = {"prune_channels": {"amount": 0.5, "round_to": 1}}
    before = build(tmp_path / "a", {"simplify": {}}, pruned)
    after = build(tmp_path / "b", {"simplify": {}}, pruned, {"distill": {"steps": 180, "batch": 20, "rate": 0.01}})
    assert isinstance(after, Variant), after
    assert isinstance(before, Variant)
    assert accuracy(after.model_file) > accuracy(before.model_file)
    assert accuracy(after.model_file) > 0.85
    assert "trained for 180 steps" in after.notes[-1]


@pytest.mark.parametrize(
    ("samples", "views", "steps", "batch", "count"),
    [
        (200, 32, 2000, 64, 6400),  # of each sample as many as are asked for
        (60_000, 32, 2000, 64, 131_072),  # what is looked at, 128,000, and no more
        (60_000, 32, 2048, 64, 131_072),  # the same ones for a somewhat longer training
        (60_000, 32, 10, 64, 4096),
    ],
)
def test_views_are_as_many_as_are_looked_at_in_steps_of_two(
    tmp_path: Path, samples: int, views: int, steps: int, batch: int, count: int
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((samples, 1), np.float32))
    order = {"inputs": str(tmp_path / "x.npy"), "settings": {"steps": steps, "batch": batch}}
    assert count_for(order, views) == count


@needs_torch
@pytest.mark.long
def test_students_learn_from_the_same_views(tmp_path: Path) -> None:
    pruned = {"prune_channels": {"amount": 0.5, "round_to": 1}}
    for steps in (150, 180):
        taught = {"distill": {"steps": steps, "batch": 20, "rate": 0.01, "views": 8}}
        made = build(tmp_path, {"simplify": {}}, pruned, taught)
        assert isinstance(made, Variant), made
        assert accuracy(made.model_file) > 0.85
    facts = [json.loads(each.read_bytes()) for each in (tmp_path / "cache").glob("*/result.json")]
    assert [each["views"] for each in facts if "views" in each] == [8 * 120]


@needs_torch
@pytest.mark.long
def test_zeros_grow_and_the_accuracy_stays(tmp_path: Path) -> None:
    made = build(tmp_path, {"simplify": {}}, {"gradual_prune": {"steps": 180, "batch": 20, "rate": 0.01, "final": 0.6}})
    assert isinstance(made, Variant), made
    weights = [numpy_helper.to_array(each) for each in onnx.load(made.model_file).graph.initializer]
    assert [round(float((each == 0).mean()), 1) for each in weights if each.ndim > 1] == [0.6, 0.6, 0.6]
    assert accuracy(made.model_file) > 0.85


@needs_torch
@pytest.mark.long
@pytest.mark.parametrize(
    "pass_", [{"fine_tune": {"l1": 1e-4}}, {"adversarial_train": {"epsilon": 0.05, "attack_steps": 2}}]
)
def test_float_networks_are_trained_on(tmp_path: Path, pass_: dict[str, Any]) -> None:
    (name, parameters) = next(iter(pass_.items()))
    made = build(tmp_path, {"simplify": {}}, {name: {"steps": 60, "batch": 20, "rate": 0.003, **parameters}})
    assert isinstance(made, Variant), made
    assert accuracy(made.model_file) > 0.9


@needs_torch
@pytest.mark.long
def test_a_quantised_network_is_trained_as_it_is(tmp_path: Path) -> None:
    """Clipped far too early, so that there is something to learn: activations at the 60th percentile."""
    rough = {"quantize_static": {"scheme": "u8u8", "calibration": "percentile", "percentile": 60, "per_channel": False}}
    before = build(tmp_path / "a", {"simplify": {}}, rough)
    after = build(
        tmp_path / "b", {"simplify": {}}, rough, {"quantize_aware": {"steps": 120, "batch": 20, "rate": 0.01}}
    )
    assert isinstance(after, Variant), after
    assert isinstance(before, Variant)
    assert after.precision == "int8"
    assert [each.op_type for each in onnx.load(after.model_file).graph.node] == [
        each.op_type for each in onnx.load(before.model_file).graph.node
    ]
    assert accuracy(after.model_file) > accuracy(before.model_file)


NETWORK = """\
import torch

def build() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv1d(1, 6, 7, stride=2, padding=3, bias=False), torch.nn.BatchNorm1d(6), torch.nn.ReLU(),
        torch.nn.Conv1d(6, 8, 5, stride=2, padding=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool1d(1),
        torch.nn.Flatten(), torch.nn.Linear(8, OUTPUTS),
    )
"""


@needs_torch
@pytest.mark.long
def test_a_network_of_the_user_s_own_is_taught(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "model")
    (root / "student.py").write_text(NETWORK.replace("OUTPUTS", "3"))
    own, teach = {"student": {"factory": "student.py:build"}}, {"distill": {"steps": 400, "batch": 20, "rate": 0.01}}
    made = build(tmp_path, own, teach)
    assert isinstance(made, Variant), made
    assert accuracy(made.model_file) > 0.85
    (root / "student.py").write_text(NETWORK.replace("OUTPUTS", "2"))
    refused = build(tmp_path, own, teach)  # the file counts: what was kept is not taken for it
    assert isinstance(refused, FailedVariant)
    assert "student.py:build gives outputs of shape [(2,)], the model [(3,)]" in refused.because


def accuracy(file: Path) -> float:
    inputs, labels = series(90, seed=3)
    scores = (inputs - inputs.mean(axis=2, keepdims=True)) / inputs.std(axis=2, keepdims=True)
    return float((run(file, scores.astype(np.float32)).argmax(axis=1) == labels).mean())


@needs_torch
@pytest.mark.long
@pytest.mark.parametrize("passes", [[{"simplify": {}}], [{"simplify": {}}, {"quantize_static": {"scheme": "u8u8"}}]])
def test_attacks_go_through_the_graph_that_is_deployed(tmp_path: Path, passes: list[dict[str, Any]]) -> None:
    made, cache = build(tmp_path, *passes), PassCache(tmp_path / "cache")
    assert isinstance(made, Variant)
    samples = evaluation_samples(ModelFolder.load(tmp_path / "model"), tmp_path / "samples")
    small, large = (robustness(made, samples, epsilon, cache) for epsilon in (0.01, 0.5))
    assert small.of == large.of == 90
    assert small.right["none"] == large.right["none"] == round(accuracy(made.model_file) * 90)
    assert large.right["pgd"] <= large.right["fgsm"] < small.right["fgsm"] <= small.right["none"]
    assert large.accuracy("pgd") < 0.5


def test_attacks_on_other_formats_are_refused(tmp_path: Path) -> None:
    model = ModelFolder.load(write_folder(tmp_path / "model"))
    variant = replace(baseline_variant(model), format="tflite")
    with pytest.raises(UnusableModel, match="this is tflite"):
        robustness(variant, evaluation_samples(model, tmp_path / "samples"), 0.1, PassCache(tmp_path / "cache"))
