"""Opening a bundle: only its own files, and never a pickle."""

from pathlib import Path

import numpy as np
import pytest

from agent.errors import BadBundle, NotFound
from agent.inference.arrays import golden_inputs, load_array, open_dataset
from agent.inference.bundle import Bundle, confined
from tests.unit.agent.inference import bundle_kit as kit


def test_a_bundle_gives_its_parts(tmp_path: Path) -> None:
    kit.write_bundle(tmp_path)
    bundle = Bundle.open(tmp_path)
    assert bundle.model_path == tmp_path / "model.onnx"
    np.testing.assert_array_equal(golden_inputs(bundle), kit.queries())


def test_a_folder_without_manifest_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"manifest\.json"):
        Bundle.open(tmp_path)


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    kit.write_dataset(tmp_path, kit.queries())
    with pytest.raises(BadBundle, match="BundleManifest"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("path", ["../secret", "golden/../../secret", "/etc/hostname", "link"])
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    root = tmp_path / "bundle"
    (root / "golden").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BadBundle, match="leads out"):
        confined(root, path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadBundle, match="no readable"):
        load_array(tmp_path, "objects.npy")


def test_a_data_set_of_another_length_is_refused(tmp_path: Path) -> None:
    kit.write_dataset(tmp_path, kit.queries(5))
    np.save(tmp_path / "inputs.npy", kit.queries(4))
    with pytest.raises(BadBundle, match="holds 4 samples, its manifest says 5"):
        open_dataset(tmp_path)
