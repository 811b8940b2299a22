"""Tensors of whole numbers: cast where they fit, refused with the range where they do not."""

from typing import Any

import numpy as np
import pytest

from agent.errors import BadQuery
from agent.inference.pre import Place, make_pre
from controller.errors import UnusableData
from controller.models.preprocess import prepare
from wire.spec import TensorPre, TensorSpec

Pre = Any


def tensor(dtype: str, **fields: Any) -> TensorPre:
    return TensorPre(input=TensorSpec.model_validate({"name": "x", "shape": (-1, 3), "dtype": dtype, **fields}))


def taken(pre: TensorPre, query: Any) -> Any:
    return make_pre(pre, Place({"x": pre.input.shape})).prepare(np.asarray(query))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("given", ["bool", "uint8", "int8", "int16", "uint64", "float16", "float32", "float64"])
def test_whole_numbers_of_any_type_are_cast(given: str, dtype: str) -> None:
    found = taken(tensor(dtype), np.array([0, 1, 1], given))
    assert (found.dtype.name, found.tolist()) == (dtype, [[0, 1, 1]])


@pytest.mark.parametrize(
    ("dtype", "query"),
    [
        ("int32", np.array([-(2**31), 2**31 - 1, 0])),
        ("int32", np.array([-(2.0**31), 2.0**31 - 1, 0])),
        ("int64", np.array([-(2.0**63), 2.0**62, 0])),
        ("int64", np.array([2**63 - 1, 0, 1], np.uint64)),
    ],
)
def test_the_ends_of_the_range_are_exact(dtype: str, query: Any) -> None:
    assert taken(tensor(dtype), query)[0].tolist() == [int(value) for value in query]
    assert prepare(tensor(dtype), query[np.newaxis]).tolist() == [[int(value) for value in query]]


@pytest.mark.parametrize(
    ("dtype", "query", "says"),
    [
        ("int32", np.array([0, 2**31, 0]), r"from -2147483648 to 2147483647 for int32, given 0 to 2147483648"),
        ("int32", np.array([0, -(2**31) - 1, 0]), r"given -2147483649 to 0"),
        ("int32", np.array([0, 0, 1e10]), r"given 0\.0 to 10000000000\.0"),
        ("int64", np.array([0, 2.0**63, 0]), "to 9223372036854775807 for int64"),
        ("int64", np.array([2**63, 0, 0], np.uint64), "given 0 to 9223372036854775808"),
        ("int64", np.array([0, np.nan, 0]), "given nan to nan"),
        ("int64", np.array([0, np.inf, 0]), "given 0.0 to inf"),
        ("int64", np.array([0, 0.5, 2.5]), "given 2 that are broken ones"),
        ("int32", np.array([0, 1, 1j]), "expected numbers, given dtype complex128"),
        ("int32", np.array(["a", "b", "c"]), "expected numbers, given dtype <U1"),
        ("int32", np.zeros((3, 1)), r"shape \(3,\), given \(3, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_range(dtype: str, query: Any, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        taken(tensor(dtype), query)
    if query.dtype.kind in "fiu":
        with pytest.raises(UnusableData):
            prepare(tensor(dtype), query[np.newaxis])


def test_the_input_s_own_dtype_goes_in_as_it_is_and_others_are_numbers() -> None:
    pre = tensor("int8", quantisation={"scale": 0.5, "zero_point": 3})
    assert taken(pre, np.array([1, -7, 3], np.int8)).tolist() == [[1, -7, 3]]
    for dtype in ("int16", "float32"):
        assert taken(pre, np.array([1, -7, 3], dtype)).tolist() == [[5, -11, 9]]


def test_one_number_a_query_is_a_tensor_without_axes() -> None:
    for dtype in ("float32", "int64"):
        pre = TensorPre(input=TensorSpec(name="x", shape=(-1,), dtype=dtype))
        assert taken(pre, 5.0).tolist() == [5.0]


def test_a_row_of_a_batch_is_written_in_place() -> None:
    rows = np.zeros((2, 3), np.int64)
    made = make_pre(tensor("int64"), Place({"x": (-1, 3)}, rows={"x": rows[1:]}))
    made.prepare(np.array([4.0, 5.0, 6.0]))
    assert rows.tolist() == [[0, 0, 0], [4, 5, 6]]
