"""The product's measuring held against known quantities, in real processes: what `benchmarks.truth` does at length.

No test asserts on how fast this machine is: times are held against another clock, memory against what was taken, and
flags against disturbances that were put in.
"""

import math
import statistics
from pathlib import Path

import pytest

from agent.inference.limits import kernel_folder
from agent.measure.flags import UNQUIET
from agent.measure.lock_step.ratios import round_log_ratios
from agent.warm import ensure_warm
from benchmarks.truth_parts.bundles import write_blocks, write_engine
from benchmarks.truth_parts.disturbed import duty_cycle, neighbour
from benchmarks.truth_parts.known import allocation_claim
from benchmarks.truth_parts.product import Product, compiled, infer_ns

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def product() -> Product:
    ensure_warm()
    return Product(kernel_folder(None).parents[1])


@pytest.mark.parametrize("busy_ms", [1, 5])
def test_a_known_busy_time_is_measured_within_a_percent(product: Product, tmp_path: Path, busy_ms: int) -> None:
    found = product.once(write_engine(tmp_path / "b", "busy", busy_ns=busy_ms * 1_000_000))
    assert infer_ns(found) == pytest.approx(busy_ms * 1e6, rel=0.01)
    assert statistics.median(found.total_ns.unpack()) >= infer_ns(found)
    assert found.conditions["calls_per_sample"] == 1
    assert compiled([found]) == 0, "a kernel was compiled in a timed process"


def test_a_known_allocation_is_found_within_a_mebibyte(product: Product, tmp_path: Path) -> None:
    claim = allocation_claim(product, tmp_path)
    assert claim.holds, claim.how


def test_a_busy_neighbour_is_flagged(product: Product, tmp_path: Path) -> None:
    with neighbour():
        found = product.once(write_blocks(tmp_path / "b", "b"))
    assert "disturbed" in found.flags
    assert found.conditions["disturbed_ratio"] > 0.05
    assert not UNQUIET.isdisjoint(found.flags)


def test_a_process_that_is_stopped_now_and_then_is_flagged(product: Product, tmp_path: Path) -> None:
    with duty_cycle():
        found = product.once(write_blocks(tmp_path / "b", "b"))
    assert {"stalled", "disturbed"} & set(found.flags)


def test_two_in_lock_step_have_the_ratio_of_their_work(product: Product, tmp_path: Path) -> None:
    """One round; whatever else runs here, a busy time ends when another clock says so."""
    folders = [
        write_engine(tmp_path / name, "busy", busy_ns=each) for name, each in (("a", 2_000_000), ("b", 2_400_000))
    ]
    (first, second), _ = Product(product.cache, grade="quick").in_lock_step(*folders, replicates=1, looks=())
    assert round_log_ratios(first.replicates, second.replicates) == pytest.approx([math.log(1.2)], abs=0.02)
    assert {one.interleaving for one in (first, second)} == {"lock-step"}
    assert all("stalled" not in process.flags for one in (first, second) for process in one.replicates)


def test_bundles_of_one_group_are_interleaved(product: Product, tmp_path: Path) -> None:
    folders = [write_blocks(tmp_path / name, name, 4) for name in ("first", "second")]
    group, _ = product.together(*folders, replicates=2, repeats_disturbed=False)
    first, second = ([each.order for each in one.replicates] for one in group)
    # A, B, B, A; one that finds its processor slower is taken once more, right after it.
    assert (first[0], first[-1]) == (0, max(first + second))
    assert first[0] < second[0] <= second[-1] < first[-1]
    assert len(second) in (2, 3)
    assert [one.golden is not None and one.golden.passed for one in group] == [True, True]
