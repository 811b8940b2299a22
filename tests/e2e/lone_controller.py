"""A controller in miniature for tests of an agent alone: signs documents, serves chunks, keeps what the device says."""

import base64
import json
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paho.mqtt.client as paho
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion

from wire.artifact import ArtifactRef, Chunk, ChunkIndex, FileEntry, Want
from wire.base import Message, decode, encode
from wire.canonical import sha256_hex
from wire.device_state import State
from wire.envelope import Envelope, seal
from wire.manifest import BundleManifest, GoldenSpec
from wire.presence import Ack, Event, Presence, Sync
from wire.spec import ClassificationPost, Pipeline, TensorPre, TensorSpec
from wire.telemetry import Metrics
from wire.topics import Topics, parse
from wire.trial import Plan, TrialPart, TrialRecord
from wire.update import Desired, Reported

FLEET, DEVICE, KEY_ID = "alone", "dev-1", "k1"
CHUNK_BYTES = 64
PIECE_BYTES = 2048
PATIENCE_S = 60.0


@dataclass
class Packed:
    """An artifact ready to be served: its reference, and pieces and chunks by digest."""

    ref: ArtifactRef
    manifest: BundleManifest
    parts: dict[str, bytes]
    index: ChunkIndex


def tiny_bundle(
    weight: float = 1.0,
    *,
    wrong_golden: bool = False,
    engine: str = "onnxruntime",
    ballast: bytes = b"",
    chunk_bytes: int = CHUNK_BYTES,
) -> Packed:
    """Return a bundle of a linear classifier of 4 features and 3 classes, and `ballast` in a file that nobody reads."""
    weights = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5.0) * np.float32(weight)
    inputs = np.linspace(-1.0, 1.0, 32, dtype=np.float32).reshape(8, 4)
    outputs = inputs @ weights + (1.0 if wrong_golden else 0.0) * np.array([9.0, -9.0, 0.0], dtype=np.float32)
    files = {
        "model.onnx": _linear_model(weights),
        "golden/inputs.npy": _npy(inputs),
        "golden/outputs.npy": _npy(outputs.astype(np.float32)),
        **({"ballast.bin": ballast} if ballast else {}),
    }
    entries = tuple(FileEntry(path=name, size_bytes=len(each), sha256=sha256_hex(each)) for name, each in files.items())
    tensors = [TensorSpec(name=name, shape=(-1, width)) for name, width in (("x", 4), ("y", 3))]
    manifest = BundleManifest(
        model="tiny",
        model_version="1",
        kind="classification",
        variant=f"tiny-{weight:g}",
        format="onnx",
        engine=engine,
        model_file="model.onnx",
        pipeline=Pipeline(pre=TensorPre(input=tensors[0]), post=ClassificationPost(output=tensors[1])),
        golden=GoldenSpec(samples=8),
        files=entries,
    )
    return pack(manifest, list(files.values()), chunk_bytes)


def pack(manifest: BundleManifest, contents: list[bytes], chunk_bytes: int = CHUNK_BYTES) -> Packed:
    """Cut a manifest and its files into zstd chunks and index pieces."""
    head = encode(manifest)
    stream = head + b"".join(contents)
    plain = [stream[start : start + chunk_bytes] for start in range(0, len(stream), chunk_bytes)]
    wire = [zstandard.ZstdCompressor().compress(piece) for piece in plain]
    digest = sha256_hex(head)
    chunks = tuple(
        Chunk(id=sha256_hex(sent), wire_bytes=len(sent), plain_bytes=len(raw), encoding="zstd")
        for sent, raw in zip(wire, plain, strict=True)
    )
    index = ChunkIndex(artifact=digest, manifest_bytes=len(head), files=manifest.files, chunks=chunks)
    content = encode(index)
    pieces = [content[start : start + PIECE_BYTES] for start in range(0, len(content), PIECE_BYTES)]
    parts = {sha256_hex(each): each for each in (*pieces, *wire)}
    ref = ArtifactRef(
        digest=digest,
        index=tuple(sha256_hex(piece) for piece in pieces),
        index_bytes=len(content),
        size_bytes=len(stream),
        wire_bytes=sum(len(sent) for sent in wire),
    )
    return Packed(ref, manifest, parts, index)


def _linear_model(weights: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    float_type = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "tiny",
        [onnx.helper.make_tensor_value_info("x", float_type, ["n", 4])],
        [onnx.helper.make_tensor_value_info("y", float_type, ["n", 3])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    import io

    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


@dataclass
class Heard:
    """Everything that the device said."""

    reports: list[Reported] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    presence: list[Presence] = field(default_factory=list)
    metrics: list[Metrics] = field(default_factory=list)
    syncs: list[Sync] = field(default_factory=list)
    wants: list[Want] = field(default_factory=list)
    parts: dict[str, dict[int, TrialPart]] = field(default_factory=dict)

    def record(self, trial: str) -> TrialRecord | None:
        """Return a trial's record once all of its parts are here."""
        parts = self.parts.get(trial, {})
        if not parts or len(parts) < next(iter(parts.values())).parts:
            return None
        content = b"".join(base64.b64decode(parts[number].data) for number in sorted(parts))
        assert sha256_hex(content) == parts[0].sha256
        return decode(TrialRecord, zlib.decompress(content), 64 * 1024 * 1024)


class LoneController:
    """Serves one device over a real broker."""

    def __init__(self, port: int, *bundles: Packed) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.topics = Topics(FLEET)
        self.heard = Heard()
        self.spoil: Callable[[str, bytes], bytes | None] = lambda _, payload: payload
        """(chunk id, payload) -> what is sent instead; None loses it."""
        self._bundles = {bundle.ref.digest: bundle for bundle in bundles}
        self._changed = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "lone-controller", protocol=paho.MQTTv5)
        self._client.on_message = self._arrived
        self._client.on_connect = self._connected
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def desired(self, gen: int, bundle: Packed | None = None, **changes: Any) -> Desired:
        """Publish, signed and retained, what the workload should be."""
        now_s = time.time()
        fields: dict[str, Any] = {
            "fleet": FLEET,
            "device": DEVICE,
            "workload": "main",
            "gen": gen,
            "epoch": 1,
            "action": "run",
            "bundle": bundle.ref if bundle else None,
            "engine": bundle.manifest.engine if bundle else None,
            "probation_s": 1.0,
            "issued_s": now_s,
            "expires_s": now_s + 3600,
            **changes,
        }
        document = Desired(**fields)
        topic = self.topics.desired(DEVICE, document.workload)
        self.publish(topic, self.sealed("desired", document), retain=True)
        return document

    def plan(self, document: Plan) -> None:
        self.publish(self.topics.plan(DEVICE), self.sealed("plan", document), retain=True)

    def sealed(self, kind: Any, document: Message, key: Ed25519PrivateKey | None = None) -> Envelope:
        return seal(kind, document, KEY_ID, (key or self.key).sign)

    def acknowledge(self, *trials: str) -> None:
        self.publish(self.topics.ack(DEVICE), Ack(trials=trials))

    def publish(self, topic: str, message: Message, retain: bool = False) -> None:
        self._client.publish(topic, encode(message), 1, retain).wait_for_publish(10)

    def wait(self, what: str, found: Callable[[], Any]) -> Any:
        """Return the first true answer of `found`, asked again whenever the device says something."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not (answer := found()):
                if time.monotonic() > deadline:
                    last = [json.loads(encode(each)) for each in self.heard.reports[-2:]]
                    raise AssertionError(f"waited {PATIENCE_S:.0f} s for {what}; last reports: {last}")
                self._changed.wait(0.25)
            return answer

    def state(self, state: State, gen: int, workload: str = "main") -> Reported:
        """Wait until the device has reported `state` in `gen`."""

        def seen() -> Reported | None:
            matching = [each for each in self.heard.reports if each.workload == workload and each.gen == gen]
            return next((each for each in matching if each.state is state), None)

        report: Reported = self.wait(f"{workload} {state.value} in gen {gen}", seen)
        return report

    def states(self, gen: int, workload: str = "main") -> list[str]:
        """Return the states reported in `gen`, in order, each change once."""
        seen = [each.state.value for each in self.heard.reports if each.gen == gen and each.workload == workload]
        return [state for place, state in enumerate(seen) if place == 0 or seen[place - 1] != state]

    def _connected(self, client: paho.Client, *_: Any) -> None:
        names = ("reported", "event", "presence", "metrics", "sync")
        topics = [self.topics.reported(DEVICE, "+"), *(getattr(self.topics, name)(DEVICE) for name in names[1:])]
        topics += [self.topics.wants(), self.topics.trial(DEVICE, "+")]
        client.subscribe([(topic, 1) for topic in topics])

    def _arrived(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        address = parse(message.topic)
        payload = bytes(message.payload)
        with self._changed:
            if address.kind == "want":
                self._serve(decode(Want, payload))
            elif address.kind == "trial":
                part = decode(TrialPart, payload)
                self.heard.parts.setdefault(part.trial, {})[part.part] = part
            else:
                self._keep(address.kind, payload)
            self._changed.notify_all()

    def _keep(self, kind: str, payload: bytes) -> None:
        kinds: dict[str, tuple[type[Message], list[Any]]] = {
            "reported": (Reported, self.heard.reports),
            "event": (Event, self.heard.events),
            "presence": (Presence, self.heard.presence),
            "metrics": (Metrics, self.heard.metrics),
            "sync": (Sync, self.heard.syncs),
        }
        model, kept = kinds[kind]
        kept.append(decode(model, payload))

    def _serve(self, want: Want) -> None:
        self.heard.wants.append(want)
        bundle = self._bundles.get(want.artifact)
        if bundle is None:
            return
        bits = base64.b64decode(want.missing)
        places = [want.first + bit for bit in range(8 * len(bits)) if bits[bit // 8] >> bit % 8 & 1]
        for digest in (*want.pieces, *(bundle.index.chunks[place].id for place in places)):
            payload = self.spoil(digest, bundle.parts[digest])
            if payload is not None:
                self._client.publish(self.topics.chunk(want.artifact, digest), payload, 1)


def agent_document(port: int, folder: Path, controller: LoneController, **changes: Any) -> dict[str, Any]:
    """Return a configuration for the agent under test."""
    key = base64.b64encode(controller.key.public_key().public_bytes_raw()).decode()
    return {
        "fleet": FLEET,
        "device": DEVICE,
        "broker": {"port": port, "keepalive_s": 5, "will_delay_s": 1},
        "state_dir": str(folder / "state"),
        "trusted_keys": {KEY_ID: key},
        "metrics_interval_s": 1.0,
        "serve": {"source": {"kind": "replay", "rate_hz": 20.0}},
        **changes,
    }
