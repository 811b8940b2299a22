"""What engines are fed and what their outputs mean: the agent's arithmetic, by hand."""

import numpy as np
import pytest

from controller.compress.probe.feeding import dequantised, fed, quantised, read, unfit
from wire.spec import ClassificationPost, Pipeline, RegressionPost, TensorPre, TensorSpec
from wire.spec.base import Quantisation

INT8 = TensorSpec(name="x", shape=(1, 4), dtype="int8", quantisation=Quantisation(scale=0.5, zero_point=-1))


def pipeline(source: TensorSpec, result: TensorSpec) -> Pipeline:
    return Pipeline(pre=TensorPre(input=source), post=ClassificationPost(output=result))


def test_levels_are_rounded_half_to_even_and_saturate() -> None:
    # 0.25 / 0.5 is half a level and goes to 0, 0.75 / 0.5 is one and a half and goes to 2; 100 / 0.5 does not fit.
    levels = quantised(np.array([[0.25, 0.75, 100.0, -100.0]], np.float32), INT8)
    assert levels.dtype == np.int8
    assert levels.tolist() == [[-1, 1, 127, -128]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
def test_what_is_not_quantised_only_changes_its_type(dtype: str) -> None:
    tensor = TensorSpec.model_validate({"name": "x", "shape": (1, 2), "dtype": dtype})
    given = quantised(np.array([[1.0, 2.0]]), tensor)
    assert given.dtype == dtype
    assert given.tolist() == [[1, 2]]


def test_outputs_are_levels_times_their_step() -> None:
    values = dequantised(np.array([[-1, 1, 127]], np.int8), INT8)
    assert values.dtype == np.float32
    assert values.tolist() == [[0.0, 1.0, 64.0]]


def test_queries_go_through_the_pipeline_there_and_back() -> None:
    known = pipeline(INT8, INT8)
    inputs = fed(known, np.array([[0.5, 1.0, -0.5, 0.0]], np.float32))
    assert inputs.tolist() == [[0, 1, -2, -1]]
    assert read(known, [inputs]).tolist() == [[0.5, 1.0, -0.5, 0.0]]


def test_state_is_not_fed_from_here() -> None:
    tensor = TensorSpec(name="x", shape=(1, 4))
    plain = Pipeline(pre=TensorPre(input=tensor), post=RegressionPost(output=TensorSpec(name="y", shape=(1, 1))))
    assert unfit(plain) is None
    state = {"input": {"name": "s", "shape": [1, 2]}, "output": {"name": "t", "shape": [1, 2]}}
    kept = Pipeline.model_validate({**plain.model_dump(), "state": [state]})
    assert "state" in (unfit(kept) or "")
