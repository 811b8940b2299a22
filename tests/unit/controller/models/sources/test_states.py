"""Which tensors are state: by what their names say, by shapes that occur once, and when neither is enough."""

from pathlib import Path

import pytest

from controller.convert.signature import Signature
from controller.errors import UnusableModel
from controller.models.sources.states import ends, state_pairs
from wire.spec import TensorSpec


def tensor(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, shape=shape or (1, 4))


@pytest.mark.parametrize(
    ("source", "result"),
    [("h", "hn"), ("h0", "h_out"), ("state", "stateN"), ("stateIn", "new_state"), ("past.0.key", "present.0.key"),
     ("hidden_in", "hidden_out"), ("cell", "next_state_cell")],
)  # fmt: skip
def test_names_that_say_the_same_are_state(source: str, result: str) -> None:
    signature = Signature((tensor("x", 1, 9), tensor(source)), (tensor("y", 1, 2), tensor(result)))
    assert state_pairs(signature) == {source: result}


def test_the_query_may_stand_behind_the_state() -> None:
    signature = Signature((tensor("h"), tensor("x", 1, 4)), (tensor("h_out"), tensor("y", 1, 2)))
    found = ends(signature, Path("m.onnx"), None)
    assert found.entry == {"input": "x", "output": "y", "state": {"h": "h_out"}}
    assert [one.name for one in found.signature.inputs] == ["x"]


def test_layers_are_told_apart() -> None:
    names = [f"past.{layer}.key" for layer in range(3)]
    given = [f"present.{layer}.key" for layer in (2, 0, 1)]
    signature = Signature((tensor("x", 1, 9), *map(tensor, names)), (tensor("y", 1, 2), *map(tensor, given)))
    assert state_pairs(signature) == {f"past.{layer}.key": f"present.{layer}.key" for layer in range(3)}


def test_a_shape_is_enough_only_where_a_name_speaks_of_state() -> None:
    def pairs(name: str) -> dict[str, str]:
        return state_pairs(
            Signature((tensor("x", 1, 9), tensor(name, 2, 7)), (tensor("y", 1, 2), tensor("out_1", 2, 7)))
        )

    assert pairs("cache_a") == {"cache_a": "out_1"}
    assert pairs("mask") == {}


@pytest.mark.parametrize("shape", [(2, -1, 64), (-1, 64)])
def test_the_batch_of_a_state_may_be_free(shape: tuple[int, ...]) -> None:
    signature = Signature((tensor("x", -1, 9), tensor("h", *shape)), (tensor("y", -1, 2), tensor("hn", *shape)))
    assert state_pairs(signature) == {"h": "hn"}


def test_state_of_no_certain_size_is_none() -> None:
    grows = (-1, -1, 64)
    signature = Signature((tensor("x", 1, 9), tensor("h", *grows)), (tensor("y", 1, 2), tensor("hn", *grows)))
    with pytest.raises(UnusableModel, match=r"nothing else feeds: x .*h \(-1, -1, 64\)"):
        ends(signature, Path("m.onnx"), None)


def test_a_model_of_nothing_but_state_has_no_answer() -> None:
    signature = Signature((tensor("x", 1, 9), tensor("h")), (tensor("hn"),))
    with pytest.raises(UnusableModel, match=r"every output is state \(hn\)"):
        ends(signature, Path("m.onnx"), None)
