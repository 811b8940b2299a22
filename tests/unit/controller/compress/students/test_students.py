"""Students run, answer in the model's shape, compute less, and are the same for the same seed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.compress.passes.students.parameters import Derive
from controller.compress.students.derive import NOTHING, derived
from controller.compress.weights.operators import values_of, weighted
from controller.errors import UnusableModel
from controller.models.graph import measure_graph
from tests.unit.controller.compress.channels import small_networks as small
from tests.unit.controller.compress.channels.test_channels import answers

SMALLER = ("width", "separable", "pools", "early_stride", "depth")
CHANGES = st.fixed_dictionaries(
    {
        "width": st.sampled_from([0.125, 0.3, 0.5, 0.75, 1.0]),
        "round_to": st.sampled_from([1, 2, 3, 8]),
        "separable": st.booleans(),
        "pools": st.sampled_from(["kept", "strides"]),
        "early_stride": st.sampled_from([1, 2, 4]),
        "stride_at": st.sampled_from(["stem", "input"]),
        "later_strides": st.sampled_from(["kept", "reduced"]),
        "depth": st.sampled_from([0.0, 0.5, 1.0]),
        "normalise": st.booleans(),
        "weights": st.sampled_from(["fresh", "inherited"]),
    }
)


def student_of(
    model: onnx.ModelProto, given_: Mapping[str, Any], seed: int
) -> tuple[onnx.ModelProto | None, list[str]]:
    """Return a student and what was done, or None and why not."""
    try:
        return derived(model, Derive.model_validate(given_).model_dump(mode="json"), seed)
    except UnusableModel as exc:
        return None, [str(exc)]


def check(model: onnx.ModelProto, given_: Mapping[str, Any], seed: int) -> bool:
    """Derive a student without the changes that are refused by name, and look at it; return whether there is one."""
    student, notes = student_of(model, given_, seed)
    while student is None and not notes[0].startswith("derive: nothing gets smaller"):
        refused = next(name for name in SMALLER if notes[0].startswith(name) and given_[name] != NOTHING[name])
        given_ = {**given_, refused: NOTHING[refused]}
        student, notes = student_of(model, given_, seed)
    if student is None:
        return False
    onnx.checker.check_model(student, full_check=True)
    assert answers(student).shape == answers(model).shape
    assert np.isfinite(answers(student)).all()
    assert measure_graph(student).macs < measure_graph(model).macs
    again, _ = student_of(model, given_, seed)
    assert again is not None
    assert again.SerializeToString() == student.SerializeToString()
    return True


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 9), CHANGES)
def test_students_of_random_networks(seed: int, steps: int, given_: dict[str, Any]) -> None:
    check(small.random_network(seed, steps), given_, seed)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([0.125, 0.3, 0.5]), st.sampled_from([1, 2, 3]))
def test_widths_of_random_networks_shrink_and_the_outputs_stay(
    seed: int, steps: int, width: float, round_to: int
) -> None:
    model = small.random_network(seed, steps)
    student, notes = student_of(model, {"width": width, "round_to": round_to}, 0)
    if student is None:
        assert "leaves them whole" in notes[0]
        return
    before, after = (
        [values_of(each, one.weight).shape[one.made] for one in weighted(each)] for each in (model, student)
    )
    assert all(1 <= few <= many for few, many in zip(after, before, strict=True))
    assert after != before
    assert after[-1] == before[-1]


def test_every_kind_of_small_network_has_a_student_of_less_width() -> None:
    for network in small.NETWORKS:
        assert check(network(), {"width": 0.5, "round_to": 1}, 0), network.__name__


def test_what_changes_nothing_has_every_parameter_of_the_pass() -> None:
    assert set(NOTHING) == set(Derive.model_fields)
