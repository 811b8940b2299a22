"""What engines write about their operators, read: traces and summaries as recorded, and broken ones."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import EngineFailed
from agent.measure.profile.litert_summary import spent_in_summary
from agent.measure.profile.onnx_trace import spent_in_trace
from agent.measure.profile.operators import Spent, costs


def run(ts: int, dur: int = 100) -> dict[str, Any]:
    return {"cat": "Session", "tid": 1, "dur": dur, "ts": ts, "ph": "X", "name": "model_run", "args": {}}


def node(kind: str, ts: int, dur: int, tid: int = 1, suffix: str = "kernel_time") -> dict[str, Any]:
    return {"cat": "Node", "tid": tid, "dur": dur, "ts": ts, "name": f"n_{suffix}", "args": {"op_name": kind}}


def test_only_the_runs_after_the_skipped_ones_count() -> None:
    events = [node("Conv", 10, 50), run(5), node("Conv", 210, 40), node("Add", 255, 5), run(200)]
    assert spent_in_trace(events, 1) == [Spent("Conv", 1, 40.0), Spent("Add", 1, 5.0)]
    assert len(spent_in_trace(events, 0)) == 3


def test_fences_are_no_operators() -> None:
    events = [node("Conv", 10, 1, suffix="fence_before"), node("Conv", 11, 50), run(5)]
    assert spent_in_trace(events, 0) == [Spent("Conv", 1, 50.0)]


def test_an_operator_with_a_graph_of_its_own_is_charged_without_it() -> None:
    inner = [node("Add", 20, 30), node("Mul", 60, 20), node("Add", 90, 5)]
    events = [run(0, 500), node("If", 10, 80), *inner, node("Relu", 200, 7, tid=2)]
    found = {(one.operator, one.total_us) for one in spent_in_trace(events, 0)}
    assert found == {("If", 30.0), ("Add", 30.0), ("Mul", 20.0), ("Add", 5.0), ("Relu", 7.0)}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 5))
def test_operators_add_up_to_what_lies_around_them(durations: list[int], gap: int) -> None:
    at, events = 1, [run(0, 10_000)]
    for place, duration in enumerate(durations):
        events.append(node(f"op{place}", at, duration))
        at += duration + gap
    events.append(node("Loop", 1, at))
    assert sum(one.total_us for one in spent_in_trace(events, 0)) == pytest.approx(at)


@pytest.mark.parametrize(
    ("events", "skip", "says"),
    [
        ([], 0, "has 0 runs"),
        ([run(5)], 1, "has 1 runs"),
        ([{"ts": 1}], 0, "KeyError"),
        ([run(5), {"name": "x_kernel_time", "ts": "soon", "dur": 1, "args": {}}], 0, "cannot be read"),
    ],
)
def test_a_trace_that_says_nothing_is_refused(events: list[dict[str, Any]], skip: int, says: str) -> None:
    with pytest.raises(EngineFailed, match=says):
        spent_in_trace(events, skip)


SUMMARY = """
============================== Run Order ==============================
          [node type]  [start]  [first]  [avg ms]  [%]  [cdf%]  [mem KB] [times called]  [Name]
        Delegate/Convolution (NHWC, F32) IGEMM   0.000   0.006   0.006   0.143%   0.147%   0.000   5   [Delegate]:2

Number of nodes executed: 5

============================== Summary by node type ==============================
                       [Node type]    [count]   [avg ms]    [avg %]    [cdf %]   [mem KB] [times called]
        Delegate/Convolution (NHWC, F32) IGEMM         10      0.400    92.000%    92.000%      0.000             50
                     TfLiteXNNPackDelegate          1      4.100     5.000%    95.000%      0.000              5
                                   SOFTMAX          1      0.012     2.000%    99.000%      0.000              5
              Delegate/Static Reshape (NC)         22      0.000     0.116%   100.000%      0.000            110

============================== Delegate Statistics ==============================
Op Name                                        Count    Avg(us)    Min(us)    Max(us)  Total(us)
Delegate/Convolution (NHWC, F32) IGEMM            50     400.22          2       1110      20011
Delegate/Static Reshape (NC)                     110       0.23          0          7         25

Timings (microseconds): count=94 curr=21510
"""


def test_a_summary_gives_exact_sums_of_delegates_and_means_of_the_rest() -> None:
    assert spent_in_summary(SUMMARY) == [
        Spent("Convolution (NHWC, F32) IGEMM", 50, 20011.0),
        Spent("SOFTMAX", 5, 60.0),
        Spent("Static Reshape (NC)", 110, 25.0),
    ]  # and not the delegate's own row, which holds the time of the convolutions once more


def test_a_summary_without_a_delegate_gives_means() -> None:
    text = SUMMARY.partition("=============================" + "= Delegate")[0].replace("Delegate/", "")
    assert spent_in_summary(text)[0] == Spent("Convolution (NHWC, F32) IGEMM", 50, 20000.0)
    assert "TfLiteXNNPackDelegate" in {one.operator for one in spent_in_summary(text)}


@pytest.mark.parametrize("text", ["", "Summary by node type\n", SUMMARY.replace("[%]", "").replace("%", "")])
def test_another_layout_is_refused_and_not_guessed_at(text: str) -> None:
    with pytest.raises(EngineFailed, match="layout"):
        spent_in_summary(text)


def test_costs_are_per_query_and_the_dearest_first() -> None:
    found = costs([Spent("Add", 20, 100.0), Spent("Conv", 10, 900.0), Spent("Add", 20, 0.0)], 10)
    assert [(cost.operator, cost.calls, cost.total_ns) for cost in found] == [
        ("Conv", 1, 90_000.0),
        ("Add", 4, 10_000.0),
    ]
    assert [cost.share_ratio for cost in found] == [0.9, 0.1]


def test_operators_shorter_than_the_clock_have_no_share() -> None:
    assert costs([Spent("Reshape", 3, 0.0)], 3)[0].share_ratio == 0.0


def test_no_operator_is_no_profile() -> None:
    with pytest.raises(EngineFailed, match="saw no operator"):
        costs([], 10)
