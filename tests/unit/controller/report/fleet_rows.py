"""Three boards of one class as trials of the deployment in `store_rows`; the last one is slow and hot."""

import zlib
from typing import Any

from controller.store import deployments, trials
from controller.store.database import Store
from tests.unit.controller.report.store_rows import BUNDLES, DEPLOYMENT
from tests.unit.controller.trial.fleetwide.kit import record
from wire.artifact import ArtifactRef
from wire.base import encode
from wire.trial import TrialRequest

HOT = {"after": {"temperatures_celsius": {"z:cpu": 84.0}}}
SLOW = "pi-3"


def add_boards(store: Store, device_class: str = "pi5", variant: str = "int8", **changes: Any) -> None:
    """Add a control and one variant, measured on three boards."""
    with store.begin() as session:
        row = deployments.get(session, DEPLOYMENT)
        for device, factor in (("pi-1", 1.0), ("pi-2", 1.01), (SLOW, 1.5)):
            for number, (name, base) in enumerate((("fp32", 4.0), (variant, 1.0))):
                trial = f"{device}-{number}"
                readings = HOT if device == SLOW else {}
                known = {"fleet": row.fleet, "trial": trial, "readings": readings, **changes}
                found = record(device, name, factor * base, **known)
                trials.ask(session, row, device, device_class, _request(trial, name), now_s=140.0)
                asked = trials.get(session, trial)
                assert asked is not None
                trials.receive(session, asked, zlib.compress(encode(found)), "measured", now_s=150.0)


def _request(trial: str, variant: str) -> TrialRequest:
    reference = ArtifactRef(digest=BUNDLES["baseline"], index=("e" * 64,), index_bytes=10, size_bytes=10, wire_bytes=10)
    return TrialRequest(
        trial=trial, workload="main", bundle=reference, variant=variant, format="onnx", engine="onnxruntime",
        control=variant == "fp32",
    )  # fmt: skip
