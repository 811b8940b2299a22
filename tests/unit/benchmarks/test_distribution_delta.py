"""What a change moves: the device's own fetch agrees with the ways beside it, and claims say what they were held to."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.distribution.__main__ import allowed_bytes, claim_of, row_of, rows_text
from benchmarks.distribution.pairs import Pair, with_head
from benchmarks.distribution.ways import NO_BSDIFF, Moved, moved
from wire.base import LARGEST_PART_BYTES

CONTENT = np.random.default_rng(3).bytes(400_000)
BEFORE = {"model.bin": CONTENT, "golden_outputs.npy": b"0" * 400}


def test_a_change_moves_what_it_changed_and_a_shift_spoils_fixed_chunks_alone(tmp_path: Path) -> None:
    after = {**BEFORE, "model.bin": CONTENT[:1000] + b"put in" + CONTENT[1000:]}
    found = moved(BEFORE, after, tmp_path)
    assert found.full_bytes > 400_000
    assert found.ours_bytes < 3 * LARGEST_PART_BYTES
    assert found.fixed_bytes > 400_000
    assert found.new_chunks < found.chunks
    assert (found.patch_bytes is None) == (found.no_patch == NO_BSDIFF)


def test_what_is_as_before_moves_the_index_and_the_manifest(tmp_path: Path) -> None:
    found = moved(BEFORE, {**BEFORE, "golden_outputs.npy": b"1" * 400}, tmp_path)
    assert found.ours_bytes < 4_000
    assert found.fixed_bytes < 4_000


def pair(changed_bytes: int = 1000) -> Pair:
    return Pair("net", "head, float", BEFORE, BEFORE, changed_bytes, weights_kept=False)


@pytest.mark.parametrize(("ours", "holds"), [(1100 + 3 * 98304, True), (1101 + 3 * 98304, False)])
def test_a_claim_is_held_to_its_allowance(ours: int, holds: bool) -> None:
    found = Moved(900_000, ours, 900_000, None, NO_BSDIFF, chunks=10, new_chunks=2)
    claim = claim_of(pair(), found)
    assert (claim.holds, claim.name) == (holds, "net: head, float")
    assert "1000 bytes of tensors changed, weights changed; 2 of 10 chunks" in claim.how
    assert row_of(pair(), found)["allowed_bytes"] == allowed_bytes(1000) == 1100 + 3 * 98304
    assert rows_text([(pair(), found)]).splitlines()[1].endswith("-")


def classifier() -> object:
    weights = np.arange(20, dtype=np.float32).reshape(5, 4)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 4), ("y", 5))]
    tensors = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.arange(5, dtype=np.float32), "b")]
    return helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], tensors))


@pytest.mark.parametrize(("classes", "biases"), [(range(1, 3), [1, 2]), (None, [4, 0, 1, 2, 3])])
def test_a_head_has_other_weights_and_the_model_stays_as_it_was(classes: range | None, biases: list[int]) -> None:
    model = classifier()
    other = with_head(model, classes)  # type: ignore[arg-type]
    tensors = {each.name: numpy_helper.to_array(each) for each in other.graph.initializer}
    assert tensors["b"].tolist() == biases
    assert tensors["w"][:, 0].tolist() == [4 * bias for bias in biases]
    assert other.graph.output[0].type.tensor_type.shape.dim[1].dim_value == len(biases)
    assert model.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 5  # type: ignore[attr-defined]
