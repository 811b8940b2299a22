"""Samples of each kind out of an `.npz` or a factory: what judges, what calibrates, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from controller.errors import ConfigurationError, UnusableData
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples, can_be_judged, evaluation_samples

SHAPES: dict[str, tuple[list[int], dict[str, Any]]] = {
    "anomaly": ([1], {"kind": "regression"}),
    "embedding": ([8], {"kind": "regression"}),
    "sequence": ([6, 5], {"kind": "regression"}),
    "segmentation": ([3, 4, 4], {"kind": "segmentation"}),
    "detection": ([6, 9], {"kind": "detection"}),
}
COUNT = 40
RANDOM = np.random.default_rng(4)


def folder(root: Path, kind: str, arrays: dict[str, Any], **more: Any) -> ModelFolder:
    """Write a model that gives back what goes in, with these samples."""
    shape, post = SHAPES[kind]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "same", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), root / "m.onnx")
    np.savez(root / "s.npz", **arrays)
    described = {"schema": 1, "name": "same", "version": "1", "kind": kind, "pre": {"kind": "tensor"}, "post": post}
    described |= {"formats": {"onnx": {"file": "m.onnx"}}, "data": {"npz": "s.npz"}, **more}
    (root / "model.yaml").write_text(yaml.safe_dump(described))
    return ModelFolder.load(root)


def inputs(kind: str) -> Any:
    return RANDOM.random((COUNT, *SHAPES[kind][0]), dtype=np.float32)


LABELS: dict[str, dict[str, Any]] = {
    "anomaly": {"labels": np.arange(COUNT) % 4 == 0},
    "embedding": {},
    "sequence": {"tokens": RANDOM.integers(0, 5, (COUNT, 6))},
    "segmentation": {"masks": RANDOM.integers(-1, 3, (COUNT, 4, 4))},
    "detection": {"boxes": np.tile([0.0, 0, 2, 2], (COUNT, 1, 1)), "classes": np.arange(COUNT)[:, None] % 2},
}


@pytest.mark.parametrize("kind", LABELS)
def test_one_set_is_split_and_nothing_that_calibrates_judges(kind: str, tmp_path: Path) -> None:
    model = folder(tmp_path, kind, {"inputs": inputs(kind), **LABELS[kind]})
    evaluation, calibration = evaluation_samples(model, tmp_path / "s"), calibration_samples(model, tmp_path / "s")
    assert can_be_judged(model, tmp_path / "s")
    assert (len(evaluation), len(evaluation.labels), len(calibration)) == (32, 32, 8)
    known = {row.tobytes() for row in evaluation.inputs}
    assert not any(row.tobytes() in known for row in calibration)
    assert (evaluation.calibration is not None) == (kind == "anomaly")
    assert evaluation_samples(model, tmp_path / "s").digest == evaluation.digest  # from what was kept


@pytest.mark.parametrize("kind", ["anomaly", "sequence", "segmentation", "detection"])
def test_without_labels_all_samples_calibrate_and_none_judges(kind: str, tmp_path: Path) -> None:
    model = folder(tmp_path, kind, {"inputs": inputs(kind)})
    assert not can_be_judged(model, tmp_path / "s")
    assert len(calibration_samples(model, tmp_path / "s")) == COUNT
    with pytest.raises(UnusableData, match="no labels, so that no variant can be judged"):
        evaluation_samples(model, tmp_path / "s")


def test_training_inputs_of_anomalies_are_normal_without_labels(tmp_path: Path) -> None:
    arrays = {"inputs": inputs("anomaly"), **LABELS["anomaly"], "train": inputs("anomaly")[:20]}
    model = folder(tmp_path, "anomaly", arrays, data={"npz": "s.npz", "train_inputs": "train"})
    found = evaluation_samples(model, tmp_path / "s")
    assert found.calibration is not None
    assert (len(found), len(found.calibration), found.calibration.labels.size) == (COUNT, 20, 0)


def test_what_judging_says_reaches_the_samples(tmp_path: Path) -> None:
    arrays = {"inputs": inputs("sequence"), **LABELS["sequence"]}
    model = folder(tmp_path, "sequence", arrays, judging={"decode": "ctc", "word_separator": 3})
    judging = evaluation_samples(model, tmp_path / "s").judging
    assert (judging.decode, judging.blank, judging.word_separator) == ("ctc", 0, 3)
    with pytest.raises(ConfigurationError, match=r"judging.decode belongs to `kind: sequence`"):
        folder(tmp_path, "embedding", {"inputs": inputs("embedding")}, judging={"decode": "ctc"})


def test_the_answers_kind_is_named_where_it_is_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="kind is 'anomaly', which is answered as 'regression'"):
        folder(tmp_path, "anomaly", {}, post={"kind": "classification"})


def test_boxes_without_classes_are_refused(tmp_path: Path) -> None:
    model = folder(tmp_path, "detection", {"inputs": inputs("detection"), "boxes": LABELS["detection"]["boxes"]})
    with pytest.raises(UnusableData, match="no array 'classes'; it has inputs, boxes"):
        calibration_samples(model, tmp_path / "s")


def test_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    model = folder(tmp_path, "segmentation", {"inputs": inputs("segmentation"), "masks": np.zeros((7, 4, 4), int)})
    with pytest.raises(UnusableData, match="40 inputs and 7 labels"):
        evaluation_samples(model, tmp_path / "s")


def test_a_factory_gives_boxes_and_classes_as_a_pair(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import numpy as np\ndef load(split):\n"
        "    return np.ones((9, 6, 9)), (np.tile([0, 0, 2, 2], (9, 1, 1)), np.zeros((9, 1), int))\n"
    )
    model = folder(tmp_path, "detection", {}, data={"factory": "data.py:load"})
    assert evaluation_samples(model, tmp_path / "s").labels.shape == (9, 1, 5)
