"""Boxes and maps on their way: worker, channel, the gateway's end of it, JSON."""

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.gateway.base import Outcome, Query
from agent.gateway.http.openapi import openapi
from agent.gateway.lane import Lane
from agent.inference.post import Answer
from agent.serve.channel import Mask, Numbers, decode_answers
from agent.serve.loop import as_document, numbers_of
from agent.serve.settings import WorkloadServe
from agent.warm import ensure_warm
from tests.unit.agent.gateway.fake_worker import FakeWorker
from tests.unit.agent.gateway.http.documented import faults
from tests.unit.agent.inference import dense_kit
from tests.unit.agent.serve.test_serving_worker import Served

MAP = np.array([[0, 0, 2], [0, 1, 2]], dtype=np.uint8)
ANSWER_SCHEMA = openapi()["components"]["schemas"]["Answer"]


def test_an_answer_becomes_numbers_and_a_document() -> None:
    found = Answer((0.9,), (1,), ("stone",), ((1.0, 2.0, 3.5, 4.0),))
    assert numbers_of(found) == Numbers((1,), (0.9,), ((1.0, 2.0, 3.5, 4.0),))
    assert as_document(found)["boxes"] == ((1.0, 2.0, 3.5, 4.0),)
    mapped = Answer((0.5, 0.5), (0, 2), mask=MAP)
    assert numbers_of(mapped).mask == Mask(2, 3, bytes([0, 0, 2, 0, 1, 2]))
    assert as_document(mapped)["mask"] == {"rows": 2, "columns": 3, "pixels": base64.b64encode(MAP.tobytes()).decode()}
    plain = as_document(Answer((0.5,), (0,)))
    assert plain.keys() == {"classes", "labels", "values"}


def through_the_gateway(answer: Numbers, kind: str) -> Mapping[str, Any]:
    """Return what the gateway makes of a worker's answer."""
    described = {"pipeline": {"post": {"kind": kind, "labels": ["leaf", "stone", "soil"]}}}

    async def scene() -> Outcome:
        lane, worker = Lane("main", WorkloadServe()), FakeWorker(lambda _, __: answer)
        await lane.attach("one", "a" * 64, worker.end, described)
        outcome = await lane.offer(Query(b"1", "json", waits=True))
        lane.detach("one")
        return outcome

    (found,) = asyncio.run(scene()).answers
    return found


def test_boxes_reach_applications_as_lists() -> None:
    given = through_the_gateway(Numbers((1, 0), (0.9, 0.3), ((1, 2, 3.5, 4), (0, 0, 1, 1))), "detection")
    assert given["boxes"] == [[1.0, 2.0, 3.5, 4.0], [0.0, 0.0, 1.0, 1.0]]
    assert given["labels"] == ["stone", "leaf"]
    assert faults(ANSWER_SCHEMA, given) == []


def test_a_detection_that_found_nothing_says_so() -> None:
    assert through_the_gateway(Numbers((), ()), "detection") == {
        "classes": [], "labels": [], "values": [], "boxes": [],
    }  # fmt: skip
    assert "boxes" not in through_the_gateway(Numbers((), ()), "classification")


def test_a_map_reaches_applications_whole() -> None:
    given = through_the_gateway(Numbers((0, 2), (0.6, 0.4), mask=Mask(2, 3, MAP.tobytes())), "segmentation")
    mask = given["mask"]
    pixels = np.frombuffer(base64.b64decode(mask["pixels"]), np.uint8).reshape(mask["rows"], mask["columns"])
    np.testing.assert_array_equal(pixels, MAP)
    assert faults(ANSWER_SCHEMA, given) == []


@pytest.mark.parametrize("kind", ["detection", "segmentation"])
def test_a_worker_serves_it(kind: str, tmp_path: Path) -> None:
    ensure_warm()
    query = dense_kit.write_dense_bundle(tmp_path / "b", kind)
    served = Served(tmp_path)
    served.hear("ready")
    served.attach()
    served.ask(
        np.stack([query, query * 0]).tobytes(), encoding="raw", dtype="float32", shape=(2, *query.shape), batch=1
    )
    assert served.replies is not None
    frame = served.replies.receive()
    assert frame is not None
    (full, empty), _ = decode_answers(bytes(frame[1]))
    if kind == "detection":
        assert list(full.boxes) == [(16.0, 28.0, 24.0, 32.0), (45.0, 45.0, 55.0, 55.0)]
        assert (empty.boxes, empty.classes) == ((), ())
    else:
        assert full.mask == Mask(4, 5, bytes([0, 0, 0, 0, 1] * 4))
        assert empty.mask == Mask(4, 5, bytes(20))
    served.say(do="stop")
    served.replies.close()  # a worker that is told to stop answers what its channel still holds
    metrics = served.hear("metrics")["workload_metrics"]
    assert metrics["predictions"] == ({"leaf": 1} if kind == "detection" else {"leaf": 2})
    assert ("confidence" in metrics) == (kind == "detection")
    assert served.end() == 0
