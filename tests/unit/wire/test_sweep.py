"""Points of a sweep: every pair, named, of one group."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.artifact import ArtifactRef
from wire.sweep import sweep
from wire.trial import ScenarioSettings, TrialRequest

DIGEST = "a" * 64


def request(**fields: Any) -> TrialRequest:
    bundle = ArtifactRef(digest=DIGEST, index=(DIGEST,), index_bytes=1, size_bytes=1, wire_bytes=1)
    described = {"trial": "leaf", "workload": "main", "bundle": bundle, "variant": "v", "format": "onnx"}
    return TrialRequest.model_validate({**described, "engine": "onnxruntime", **fields})


def test_without_points_the_request_is_itself() -> None:
    one = request()
    assert sweep(one) == (one,)


def test_threads_make_a_trial_each() -> None:
    points = sweep(request(), threads=(1, 2, 4))
    assert [(point.trial, point.threads) for point in points] == [("leaf-t1", 1), ("leaf-t2", 2), ("leaf-t4", 4)]
    assert {point.group for point in points} == {"leaf"}
    assert {point.settings for point in points} == {ScenarioSettings()}


@given(st.lists(st.integers(1, 256), max_size=4, unique=True), st.lists(st.integers(1, 1024), max_size=4, unique=True))
def test_every_pair_has_its_own_name(threads: list[int], batches: list[int]) -> None:
    asked = request(scenario="offline", group="g", settings=ScenarioSettings(queries=99))
    points = sweep(asked, threads, batches)
    assert len({point.trial for point in points}) == len(points) == max(1, len(threads)) * max(1, len(batches))
    assert {point.threads for point in points} == ({*threads} if threads else {asked.threads})
    assert {point.settings.batch for point in points} == {*(batches or [1])}
    assert {(point.group, point.settings.queries) for point in points} == {("g", 99)}


@pytest.mark.parametrize(
    ("scenario", "points", "text"),
    [
        ("single_stream", {"batches": (2,)}, "belongs to the scenario offline"),
        ("offline", {"batches": (2, 2)}, "a number twice"),
        ("offline", {"threads": (1, 1)}, "a number twice"),
        ("offline", {"batches": (0,)}, "batch"),
        ("offline", {"threads": (1000,)}, "threads"),
    ],
)
def test_points_that_cannot_be(scenario: str, points: dict[str, tuple[int, ...]], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        sweep(request(scenario=scenario), **points)
