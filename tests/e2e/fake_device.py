"""A scripted device for tests of the controller's service: real MQTT, real wire messages, no model, no state machine.

It answers a desired document with the reports that its script names, asks for chunks, and sends records of trials.
"""

import base64
import itertools
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from controller.keys import verify_with
from wire.artifact import ArtifactRef, ChunkIndex, Want
from wire.base import Message, decode, encode
from wire.canonical import sha256_hex
from wire.device_state import State
from wire.envelope import Envelope, open_envelope
from wire.errors import WireError
from wire.presence import Ack, EngineInfo, Inventory, Presence, Sync
from wire.topics import Topics, parse
from wire.trial import Plan, TrialPart, TrialRecord, TrialRequest
from wire.update import Desired, Reported, ReportedError

GOOD = (State.CHECK, State.DOWNLOAD, State.SELFTEST, State.PROBATION, State.COMMITTED)
UNFIT = (State.CHECK, State.DOWNLOAD, State.SELFTEST, State.UNFIT)
STUCK = (State.CHECK, State.DOWNLOAD)

Script = Callable[[Desired], Sequence[State]]


class FakeDevice:
    """One device; `start` connects, `stop` leaves as a clean shutdown, `vanish` drops the connection."""

    def __init__(
        self, port: int, device: str, trusted: dict[str, str], *, fleet: str = "farm", script: Script = lambda _: GOOD
    ) -> None:
        self.port, self.fleet, self.device, self.trusted, self.script = port, fleet, device, trusted, script
        self.topics = Topics(fleet)
        self.boot_id = f"boot-{device}-{time.monotonic_ns()}"
        self.gen, self.epoch = 0, 0
        self.active: str | None = None
        self.desired: list[Desired] = []
        self.refused: list[str] = []
        self.plans: list[Plan] = []
        self.acked: list[str] = []
        self.chunks: dict[str, bytes] = {}
        self.measures = True
        self.last_reported: Reported | None = None
        self._seq = itertools.count(1)
        self._changed = threading.Condition()
        self._client: paho.Client | None = None

    def start(self) -> "FakeDevice":
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"device-{self.device}", protocol=paho.MQTTv5)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.reconnect_delay_set(1, 1)
        client.will_set(self.topics.presence(self.device), encode(self._presence(False)), qos=1, retain=True)
        self._client = client
        client.connect("127.0.0.1", self.port, 30, clean_start=True)
        client.loop_start()
        return self

    def stop(self) -> None:
        if self._client is not None:
            self.send(self.topics.presence(self.device), self._presence(False), retain=True)
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def wait(self, condition: Callable[["FakeDevice"], Any], timeout_s: float = 20.0) -> bool:
        with self._changed:
            return bool(self._changed.wait_for(lambda: condition(self), timeout_s))

    def send(self, topic: str, message: Message, *, retain: bool = False) -> None:
        assert self._client is not None
        self._client.publish(topic, encode(message), qos=1, retain=retain)

    def report(self, state: State, **fields: Any) -> Reported:
        report = Reported(
            fleet=self.fleet,
            device=self.device,
            workload="main",
            **{"gen": self.gen, "epoch": self.epoch, "active": self.active, "seq": next(self._seq)} | fields,
            state=state,
            boot_id=self.boot_id,
            at_s=1.0,
        )
        self.last_reported = report
        self.send(self.topics.reported(self.device, "main"), report, retain=True)
        return report

    def sync(self) -> None:
        self.send(self.topics.sync(self.device), Sync(fleet=self.fleet, device=self.device, boot_id=self.boot_id))

    def fetch(self, ref: ArtifactRef, index: ChunkIndex) -> None:
        """Subscribe to an artifact's chunks and ask for all of them, index pieces first."""
        assert self._client is not None
        self._client.subscribe(self.topics.chunks(ref.digest), 1)
        bitmap = bytearray(-(-len(index.chunks) // 8))
        for number in range(len(index.chunks)):
            bitmap[number // 8] |= 1 << number % 8
        missing = base64.b64encode(bytes(bitmap)).decode()
        want = Want(device=self.device, artifact=ref.digest, pieces=ref.index, missing=missing)
        self.send(self.topics.want(ref.digest), want)

    def send_record(self, request: TrialRequest, plan_gen: int = 1, *, parts: int = 2) -> list[TrialPart]:
        """Send a trial's record in parts; return them."""
        record = TrialRecord(
            fleet=self.fleet,
            device=self.device,
            trial=request.trial,
            plan_gen=plan_gen,
            workload=request.workload,
            bundle=request.bundle.digest,
            variant=request.variant,
            engine=request.engine,
            outcome="measured",
            conditions={"note": "x" * 500},
        )
        sent = cut_record(record, parts)
        for part in sent:
            self.send(self.topics.trial(self.device, request.trial), part)
        return sent

    def _presence(self, online: bool) -> Presence:
        return Presence(fleet=self.fleet, device=self.device, online=online, boot_id=self.boot_id, agent_version="0")

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        own = (self.topics.desired(self.device, "+"), self.topics.plan(self.device), self.topics.ack(self.device))
        client.subscribe([(each, 1) for each in own])
        self.send(self.topics.presence(self.device), self._presence(True), retain=True)
        self.send(self.topics.inventory(self.device), _inventory(self.fleet, self.device), retain=True)
        self.report(self.last_reported.state if self.last_reported else State.IDLE)

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            try:
                self._take(parse(message.topic).kind, bytes(message.payload))
            except WireError as exc:
                self.refused.append(str(exc))
            self._changed.notify_all()

    def _take(self, kind: str, payload: bytes) -> None:
        if kind == "desired":
            document = open_envelope("desired", decode(Envelope, payload), Desired, self._verify)
            self._take_desired(document)
        elif kind == "plan":
            plan = open_envelope("plan", decode(Envelope, payload), Plan, self._verify)
            self._take_plan(plan)
        elif kind == "ack":
            self.acked += decode(Ack, payload).trials
        elif kind == "chunk":
            self.chunks[sha256_hex(payload)] = payload

    def _take_desired(self, document: Desired) -> None:
        self.desired.append(document)
        if document.gen <= self.gen or document.epoch < self.epoch:
            self.refused.append("old")
            return
        before, self.gen, self.epoch = self.active, document.gen, document.epoch
        wanted = document.bundle.digest if document.bundle else None
        for state in self.script(document):
            if state is State.COMMITTED:
                self.active = wanted if document.action == "run" else before
            error = ReportedError(code="golden_mismatch", error_class="terminal") if state is State.UNFIT else None
            self.report(state, desired=wanted, error=error)

    def _take_plan(self, plan: Plan) -> None:
        if self.plans and plan.plan_gen <= self.plans[-1].plan_gen:
            return
        self.plans.append(plan)
        for request in plan.trials if self.measures else ():
            self.send_record(request, plan.plan_gen)

    def _verify(self, key_id: str, signature: bytes, payload: bytes) -> bool:
        return key_id in self.trusted and verify_with(self.trusted[key_id], signature, payload)


def cut_record(record: TrialRecord, parts: int) -> list[TrialPart]:
    """Return a record as it crosses the wire."""
    whole = zlib.compress(encode(record))
    size = -(-len(whole) // parts)
    slices = [whole[start : start + size] for start in range(0, len(whole), size)]
    return [
        TrialPart(
            trial=record.trial,
            part=number,
            parts=len(slices),
            sha256=sha256_hex(whole),
            data=base64.b64encode(content).decode(),
        )
        for number, content in enumerate(slices)
    ]


def _inventory(fleet: str, device: str) -> Inventory:
    return Inventory(
        fleet=fleet,
        device=device,
        soc="fake",
        machine="x86_64",
        cores=2,
        memory_bytes=2**30,
        threads=1,
        os="test",
        kernel="test",
        python="3.11",
        engines=(EngineInfo(name="onnxruntime", version="1"),),
        disk_free_bytes=2**30,
        labels={"board": "a"},
        emulated=True,
    )
