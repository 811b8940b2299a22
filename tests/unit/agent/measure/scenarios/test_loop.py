"""A loop ends somewhere, and a long warm-up is kept in part."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.measure import protocol
from agent.measure.scenarios import check_settings
from agent.measure.scenarios.arrivals import Arrivals, Limits
from agent.measure.scenarios.batches import SequenceLoop, _groups
from agent.measure.scenarios.loop import Amount, Loop, Timings, collect
from agent.measure.scenarios.replicate import both_ends
from wire.trial import ScenarioSettings


class Nothing:
    """A pipeline that does nothing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def prepare(self, query: Any) -> None:
        self.seen.append(query)

    def infer(self) -> list[Any]:
        return []

    def finish(self, outputs: Any) -> Any:
        return outputs


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 9))
def test_every_query_has_its_turn_and_a_sample_is_the_mean_of_its_calls(queries: int, samples: int, calls: int) -> None:
    pipeline, timings = Nothing(), Timings()
    loop = Loop(pipeline, list(range(queries)))  # type: ignore[arg-type]
    walls = [loop.sample(timings, calls) for _ in range(samples)]
    assert pipeline.seen == [number % queries for number in range(samples * calls)]
    for number, wall in enumerate(walls):
        parts = timings.pre[number] + timings.infer[number] + timings.post[number]
        assert parts <= timings.total[number] <= parts + 3
        assert calls * timings.total[number] <= wall


def test_streams_in_sequence_are_one_sample() -> None:
    pipeline, timings = Nothing(), Timings()
    loop = SequenceLoop(pipeline, list(range(8)), streams=5)  # type: ignore[arg-type]
    wall = loop.sample(timings, 2)
    assert len(pipeline.seen) == 10
    assert len(timings.total) == 1
    assert 2 * timings.total[0] <= wall


@given(st.integers(1, 12), st.integers(1, 30))
def test_every_query_is_in_as_many_batches_as_every_other(queries: int, size: int) -> None:
    groups: Any = _groups(list(range(queries)), size)  # type: ignore[arg-type]
    assert {len(group) for group in groups} == {size}
    counts = [sum(group.count(number) for group in groups) for number in range(queries)]
    assert len(set(counts)) == 1


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MOST_SAMPLES", 50)
    monkeypatch.setattr("agent.measure.scenarios.arrivals.MOST_SAMPLES", 50)


@pytest.mark.usefixtures("_few")
def test_no_process_has_more_samples_than_can_be_sent() -> None:
    timings = Timings()
    collect(Loop(Nothing(), [0]), timings, Amount(1000, 3600.0))  # type: ignore[arg-type, list-item]
    assert len(timings.total) == 50
    timings = Timings()
    arrivals = Arrivals(Nothing(), [0], iter(range(10_000)))  # type: ignore[arg-type, list-item]
    arrivals.run(timings, Limits(1000, 3600.0, 3600.0))
    assert len(timings.total) == 50


def test_of_a_long_warm_up_both_ends_are_kept() -> None:
    assert list(both_ends(range(10), most=10)) == list(range(10))
    assert list(both_ends(range(100), most=5)) == [0, 1, 97, 98, 99]


def test_a_batch_belongs_to_offline() -> None:
    from agent.errors import ScenarioUnfit

    check_settings("offline", ScenarioSettings(batch=8))
    check_settings("paced", ScenarioSettings())
    with pytest.raises(ScenarioUnfit, match="a batch of 8 belongs to the scenario offline, asked for in paced"):
        check_settings("paced", ScenarioSettings(batch=8))
