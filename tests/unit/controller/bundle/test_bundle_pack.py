"""A bundle holds what a device needs, says how closely outputs must agree, and passes the agent's own self-test."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from controller.bundle.artifacts import Artifact, ArtifactStore
from controller.bundle.golden import TOLERANCES, golden_spec
from controller.bundle.pack import pack_bundle
from controller.compress.process.start import run_child
from controller.compress.recipe import Recipe
from controller.compress.variant import Variant, baseline_variant, recipe_document
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.preprocess import prepare
from tests.unit.controller.compress.small_models import run, series, write_folder
from wire.manifest import BundleManifest, read_bundle_manifest
from wire.spec import Quantisation

GOLDEN = series(6, seed=40)[0]
RECIPE = Recipe.model_validate({"version": 1, "name": "float32", "formats": ["onnx"], "passes": [{"simplify": {}}]})


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    return ModelFolder.load(write_folder(tmp_path / "model"))


@pytest.fixture
def outputs(model: ModelFolder) -> Any:
    return run(model.file("onnx"), prepare(model.pipeline("onnx").pre, GOLDEN))


def packed(model: ModelFolder, outputs: Any, root: Path) -> Artifact:
    return pack_bundle(
        baseline_variant(model), model, GOLDEN, outputs, evaluation_digest="ab" * 32, store=ArtifactStore(root)
    )


def test_a_bundle_holds_model_pipeline_and_golden_arrays(model: ModelFolder, outputs: Any, tmp_path: Path) -> None:
    bundle = packed(model, outputs, tmp_path / "a")
    folder = tmp_path / "a" / bundle.digest
    manifest = read_bundle_manifest((folder / "manifest.json").read_bytes())
    assert isinstance(bundle.manifest, BundleManifest)
    assert manifest == bundle.manifest
    assert (manifest.model, manifest.model_version, manifest.engine) == ("small", "1", "onnxruntime")
    assert {file.path for file in manifest.files} == {"model.onnx", "golden/inputs.npy", "golden/outputs.npy"}
    assert np.array_equal(np.load(folder / manifest.golden.inputs), GOLDEN)
    assert manifest.pipeline.post.kind == "classification"
    assert manifest.evaluation == "ab" * 32


def test_two_packs_give_one_digest(model: ModelFolder, outputs: Any, tmp_path: Path) -> None:
    assert packed(model, outputs, tmp_path / "a").ref == packed(model, outputs, tmp_path / "b").ref


def test_the_recipe_stands_in_the_manifest_without_what_is_unset(
    model: ModelFolder, outputs: Any, tmp_path: Path
) -> None:
    base = baseline_variant(model)
    variant = Variant(
        "onnx-float32",
        recipe_document(RECIPE),
        ("simplify()",),
        "onnx",
        "onnxruntime",
        {},
        base.model_file,
        base.pipeline,
    )
    bundle = pack_bundle(variant, model, GOLDEN, outputs, evaluation_digest=None, store=ArtifactStore(tmp_path / "a"))
    assert isinstance(bundle.manifest, BundleManifest)
    assert bundle.manifest.recipe["passes"] == [{"simplify": {}}]
    assert bundle.manifest.evaluation is None


COLD = pytest.mark.timeout(900)
"""The worker compiles all kernels where nobody has since they changed: a minute of a processor's time, and many times
that beside other work. Tests that need them wait for one that does."""


def self_test(folder: Path, scratch: Path) -> dict[str, Any]:
    scratch.mkdir(exist_ok=True)
    return run_child("agent.measure.worker", {"kind": "selftest", "bundle_dir": str(folder)}, scratch, "selftest")


@COLD
def test_the_agents_self_test_passes_what_is_right_and_refuses_what_is_not(
    model: ModelFolder, outputs: Any, tmp_path: Path
) -> None:
    right = packed(model, outputs, tmp_path / "a")
    assert self_test(tmp_path / "a" / right.digest, tmp_path / "s")["outcome"] == "ok"
    wrong = packed(model, outputs[:, ::-1], tmp_path / "a")
    assert self_test(tmp_path / "a" / wrong.digest, tmp_path / "s")["outcome"] == "unfit"


@pytest.mark.parametrize("count", [0, 5])
def test_golden_arrays_that_do_not_fit_are_refused(
    count: int, model: ModelFolder, outputs: Any, tmp_path: Path
) -> None:
    with pytest.raises(UnusableModel, match=f"golden inputs and {count} outputs"):
        packed(model, outputs[:count], tmp_path / "a")


def test_every_precision_has_tolerances_with_a_reason(model: ModelFolder) -> None:
    pipeline = model.pipeline("onnx")
    for precision, tolerance in TOLERANCES.items():
        rule = golden_spec(precision, np.array([[10.0, -4.0]], np.float32), pipeline)
        assert rule.absolute == pytest.approx(10 * tolerance.of_peak)
        assert tolerance.because
    assert TOLERANCES["float32"].of_peak < TOLERANCES["float16"].of_peak < TOLERANCES["int8"].of_peak


def test_a_quantised_output_may_move_by_one_step(model: ModelFolder) -> None:
    pipeline = model.pipeline("onnx")
    step = Quantisation(scale=0.5, zero_point=0)
    output = pipeline.post.output.model_copy(update={"quantisation": step})
    coarse = pipeline.model_copy(update={"post": pipeline.post.model_copy(update={"output": output})})
    assert golden_spec("int8", np.ones((1, 2), np.float32), coarse).absolute == 0.5


def test_a_program_is_packed_with_its_engine_and_options(model: ModelFolder, outputs: Any, tmp_path: Path) -> None:
    (tmp_path / "model.pte").write_bytes(b"a program")
    made = replace(
        baseline_variant(model), name="executorch-int8", format="executorch", engine="executorch",
        engine_options={"threads": 2}, model_file=tmp_path / "model.pte", precision="int8",
    )  # fmt: skip
    store = ArtifactStore(tmp_path / "a")
    found = pack_bundle(made, model, GOLDEN, outputs, evaluation_digest=None, store=store).manifest
    assert isinstance(found, BundleManifest)
    assert (found.format, found.engine, found.engine_options) == ("executorch", "executorch", {"threads": 2})
    assert found.model_file == "model.executorch"
    with pytest.raises(UnusableModel, match="bundles carry onnx, tflite, executorch, not coreml"):
        pack_bundle(replace(made, format="coreml"), model, GOLDEN, outputs, evaluation_digest=None, store=store)


def test_packing_needs_no_engine() -> None:
    """The controller packs in its own process; an engine that crashes must not be in it."""
    code = (
        "import sys, controller.bundle.pack; print([m for m in sys.modules if m in ('onnxruntime', 'onnx', 'numba')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert json.loads(done.stdout.replace("'", '"')) == []


@COLD
def test_a_detection_bundle_takes_its_anchors_along(tmp_path: Path) -> None:
    folder = tmp_path / "finder"
    ends = [("x", [1, 4, 4]), ("y", [1, 4, 4]), ("s", [1, 4, 4])]
    x, *made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
    nodes = [helper.make_node("Identity", ["x"], [end.name]) for end in made]
    folder.mkdir()
    onnx.save(helper.make_model(helper.make_graph(nodes, "finder", [x], made)), folder / "finder.onnx")
    np.save(folder / "anchors.npy", np.full((4, 4), 0.5, np.float32))
    post = "{kind: detection, head: ssd, anchors_file: anchors.npy}"
    (folder / "model.yaml").write_text(
        "schema: 1\nname: finder\nversion: '1'\nkind: detection\nformats: {onnx: {file: finder.onnx}}\n"
        f"pre: {{kind: tensor}}\npost: {post}\n"
    )
    model, store = ModelFolder.load(folder), ArtifactStore(tmp_path / "a")
    inputs = np.random.default_rng(1).random((2, 4, 4), dtype=np.float32)
    outputs = np.concatenate([inputs.reshape(2, -1)] * 2, axis=1)
    bundle = pack_bundle(baseline_variant(model), model, inputs, outputs, evaluation_digest=None, store=store)
    assert np.load(tmp_path / "a" / bundle.digest / "anchors.npy").shape == (4, 4)
    assert self_test(tmp_path / "a" / bundle.digest, tmp_path / "s")["outcome"] == "ok"
