"""What the service's tests share: a workspace with bundles in it, and a wait."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from controller.bundle.artifacts import Artifact, ArtifactStore
from controller.keys import create_key
from controller.rollout.policy import GatePolicy, RolloutPolicy, Wave
from controller.rollout.spec import Member, RolloutSpec
from controller.store import deployments, tables
from controller.store.database import Store
from controller.workspace import Workspace
from wire.artifact import FileEntry
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, GoldenSpec
from wire.spec import ClassificationPost, Pipeline, TensorPre, TensorSpec
from wire.trial import TrialRequest

FLEET = "farm"


def make_workspace(root: Path) -> Workspace:
    workspace = Workspace(root)
    workspace.create()
    create_key(workspace.keys)
    return workspace


def add_bundle(workspace: Workspace, name: str, size_bytes: int = 300_000) -> Artifact:
    """Pack a bundle of random bytes that no engine could run: the service must not care."""
    content = random.Random(name).randbytes(size_bytes)
    tensor = TensorSpec(name="x", shape=(-1, 4))
    files = {"model.onnx": content, "golden/inputs.npy": b"in", "golden/outputs.npy": b"out"}
    manifest = BundleManifest(
        model="leaf",
        model_version="1",
        kind="classification",
        variant=name,
        format="onnx",
        engine="onnxruntime",
        model_file="model.onnx",
        pipeline=Pipeline(pre=TensorPre(input=tensor), post=ClassificationPost(output=tensor)),
        golden=GoldenSpec(samples=1),
        files=tuple(
            FileEntry(path=path, size_bytes=len(body), sha256=sha256_hex(body)) for path, body in files.items()
        ),
    )
    return ArtifactStore(workspace.artifacts).add(manifest, files)


def add_deployment(store: Store, name: str = "d-1", stage: str = "measuring", created_s: float | None = None) -> str:
    with store.begin() as session:
        now_s = created_s or time.time()
        row = tables.Deployment(
            id=name, fleet=FLEET, workload="main", model="leaf", model_version="1", settings={}, progress=None
        )
        deployments.create(session, row, now_s=now_s)
        deployments.set_stage(session, name, stage, now_s=now_s)
    return name


def request(bundle: Artifact, trial: str) -> TrialRequest:
    return TrialRequest(
        trial=trial, workload="main", bundle=bundle.ref, variant=trial, format="onnx", engine="onnxruntime"
    )


def spec(bundle: Artifact, devices: Sequence[str], **policy: Any) -> RolloutSpec:
    return spec_of(bundle.digest, devices, **policy)


def spec_of(digest: str, devices: Sequence[str], **policy: Any) -> RolloutSpec:
    """A rollout with one canary; quick, unless `policy` says otherwise."""
    quick = {
        "waves": (Wave(devices=1), Wave(ratio=1.0)),
        "soak_s": 0.1,
        "probation_s": 0.1,
        "gate": GatePolicy(timeout_s=5.0),
        "deadline_s": 15.0,
        "rollback_s": 10.0,
    }
    members = tuple(Member(device, "emulated", digest) for device in devices)
    return RolloutSpec(FLEET, "main", RolloutPolicy.model_validate(quick | policy), members)


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0, what: str = "condition") -> None:
    """Wait for a condition; a time-out fails the test with `what` did not happen."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {timeout_s:.0f} s: {what}")
        time.sleep(0.05)
