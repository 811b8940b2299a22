"""The longest records fit: through the agent's outbox, the wire's parts and the controller's limits."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from agent.plan.outbox import PART_BYTES, Outbox
from controller.fleet.records import collect
from controller.fleet.views import LARGEST_RECORD_BYTES, trial_view
from controller.store import deployments, tables, trials
from controller.store.database import Store
from tests.unit.controller.trial.records import record
from wire.artifact import ArtifactRef
from wire.base import LARGEST_PART_BYTES, encode
from wire.topics import Address
from wire.trial import Replicate, Samples, TrialPart, TrialRequest

SERIES = ("total_ns", "pre_ns", "infer_ns", "post_ns", "cpu_ns", "wait_ns")
MOST_PROCESSES = 10
MOST_SAMPLES = 100_000
"""Of a process: a minute of queries that take a millisecond, which are the shortest samples, leaves 60,000."""


def noisy(order: int, samples: int) -> Replicate:
    """A process with every series, as incompressible as real times are: 5 ms with 5 % of noise."""
    rng = np.random.default_rng(order)
    drawn: dict[str, Any] = {
        name: Samples.pack(rng.normal(5e6, 2.5e5, samples).astype(int).tolist()) for name in SERIES
    }
    return Replicate(order=order, warm_up_ns=Samples.pack([]), **drawn)


def test_a_ranking_record_travels_in_parts_and_comes_out_the_same(store: Store, tmp_path: Path) -> None:
    made = record(trial="t-1", grade="ranking", replicates=tuple(noisy(order, 1024) for order in range(5)))
    outbox = Outbox(tmp_path / "outbox")
    outbox.put(made)
    parts = outbox.parts("t-1")
    assert len(parts) > 1
    reference = ArtifactRef(digest=made.bundle, index=("c" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
    asked = TrialRequest(
        trial="t-1", workload="main", bundle=reference, variant="int8", format="onnx", engine="onnxruntime"
    )
    row = tables.Deployment(id="d-1", fleet="yard", workload="main", model="m", model_version="1", settings={})
    address = Address("yard", "trial", "barn-1", item="t-1")
    with store.begin() as session:
        deployments.create(session, row, now_s=1.0)
        trials.ask(session, row, "barn-1", "c", asked, now_s=1.0)
        for part in reversed(parts):
            assert len(encode(part)) <= LARGEST_PART_BYTES
            stored = collect(session, address, part, now_s=2.0)
        assert stored
        received = trials.get(session, "t-1")
        assert received is not None
        assert trial_view(received).record == made


def test_the_longest_record_keeps_every_limit() -> None:
    one = record(replicates=(noisy(0, MOST_SAMPLES),))
    text = encode(one)
    assert MOST_PROCESSES * len(text) < LARGEST_RECORD_BYTES
    count = MOST_PROCESSES * len(zlib.compress(text, 6)) / PART_BYTES
    most = next(limit.le for limit in TrialPart.model_fields["parts"].metadata if hasattr(limit, "le"))
    assert count < most
    assert count < trials.MOST_PARTS_OF_A_DEVICE
