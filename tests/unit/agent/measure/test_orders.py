"""Orders are read strictly: a worker does what it was told, or nothing."""

import json
from pathlib import Path

import pytest

from agent.errors import ConfigurationError
from agent.measure.orders import MeasureOrder, RunOrder, read_order

RUN = {"kind": "run", "bundle_dir": "b", "result_path": "r", "inputs_path": "i", "outputs_path": "o"}


def test_a_plain_order_is_read() -> None:
    order = read_order(json.dumps(RUN))
    assert isinstance(order, RunOrder)
    assert (order.threads, order.memory_cap_by, order.bundle_dir) == (1, "rlimit", Path("b"))


def test_what_is_written_is_read_back() -> None:
    order = MeasureOrder(bundle_dir=Path("b"), result_path=Path("r"), grade="quick", affinity=(1,), order=3)
    assert read_order(order.model_dump_json(exclude_none=True)) == order


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "train"}, "kind"),
        ({"threads": 0}, "threads"),
        ({"speed": "fast"}, "speed"),
        ({"bundle_dir": None}, "either bundle_dir"),
        ({"root": "/"}, "either bundle_dir"),
        ({"memory_cap_bytes": -1}, "memory_cap_bytes"),
    ],
)
def test_a_faulty_order_names_the_field(change: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        read_order(json.dumps({**RUN, **change}))


def test_no_json_is_no_order() -> None:
    with pytest.raises(ConfigurationError, match="not a worker's order"):
        read_order(b"{")
