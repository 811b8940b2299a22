"""One simulated device without a network: messages are kept, wants answered from a store, and time is virtual."""

import base64
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.mqtt import AckReceived, ChunkReceived, Connected, DesiredReceived, PlanReceived
from controller.bundle.artifacts import Artifact, ArtifactStore
from controller.bundle.chunk import index_pieces
from controller.bundle.pack import pack_dataset
from controller.keys import SigningKey, create_key
from simulator.classes import SimulatedClass
from simulator.device.device import VirtualDevice
from simulator.device.site import Settings, Site, TrustHere
from simulator.draw import Shares
from simulator.network.loop import EpollLoop
from tests.unit.simulator.artifact import bundle_manifest
from wire.artifact import Want
from wire.base import Message
from wire.canonical import sha256_hex
from wire.envelope import seal
from wire.presence import Ack
from wire.topics import parse
from wire.trial import Plan, TrialRequest
from wire.update import Desired

FLEET = "farm"


class SteppingLoop(EpollLoop):
    """Waits for nothing: where it would sleep, the clock jumps to the next timer."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(lambda: self.now_s)

    def _look(self, wait_s: float) -> None:
        self.now_s += max(0.0, wait_s)
        self._looked_s = self.now_s


class OneDevice:
    """A device of one class, its keys and the artifacts that it can fetch."""

    def __init__(self, folder: Path, cls: SimulatedClass, shares: Shares | None = None, **changes: Any) -> None:
        self.key: SigningKey = create_key(folder / "keys")
        self.store = ArtifactStore(folder / "artifacts")
        settings = Settings(FLEET, 1, dict(self.key.trusted_keys), shares=shares or Shares(), **changes)
        self.loop = SteppingLoop()
        self.site = Site(settings, TrustHere(settings.trusted_keys), loop=self.loop)
        self.said: list[tuple[str, Message]] = []
        self.answers_wants = True
        self.device = VirtualDevice(self.site, 0, cls)
        link: Any = self.device._link
        link.publish, link.listen, link.unlisten = self._publish, lambda _: None, lambda _: None
        self.hear = self.device._hear

    def bundle(self, name: str = "a", size_bytes: int = 300_000, engine: str = "onnxruntime") -> Artifact:
        """Pack a bundle of bytes that no engine could run."""
        manifest, contents = bundle_manifest(name, size_bytes, engine)
        return self.store.add(manifest, contents)

    def evaluation(self, samples: int = 50) -> Artifact:
        """Pack an evaluation set without labels."""
        inputs = np.arange(samples * 4, dtype=np.float32).reshape(samples, 4)
        return pack_dataset("samples", "classification", inputs, None, self.store)

    def connect(self) -> None:
        self.hear(Connected())
        self.run(0.01)

    def desire(self, gen: int, bundle: Artifact | None, key: SigningKey | None = None, **changes: Any) -> None:
        """Send a desired document, signed by the fleet's key or another one."""
        fields: dict[str, Any] = {
            "fleet": FLEET,
            "device": self.device.name,
            "workload": "main",
            "gen": gen,
            "epoch": 1,
            "action": "run",
            "bundle": bundle.ref if bundle else None,
            "engine": "onnxruntime",
            "probation_s": 20.0,
            "issued_s": time.time(),
            "expires_s": time.time() + 86400,
            **changes,
        }
        key = key or self.key
        self.hear(DesiredReceived("main", seal("desired", Desired(**fields), key.key_id, key.sign)))

    def plan(self, *requests: TrialRequest, gen: int = 1) -> None:
        plan = Plan(
            fleet=FLEET,
            device=self.device.name,
            plan_gen=gen,
            epoch=1,
            trials=requests,
            issued_s=time.time(),
            expires_s=time.time() + 86400,
        )
        self.hear(PlanReceived(seal("plan", plan, self.key.key_id, self.key.sign)))

    def acknowledge(self, *trials: str) -> None:
        self.hear(AckReceived(Ack(trials=trials)))

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.loop.run_for(seconds)

    def of(self, kind: str) -> list[Any]:
        """Return the messages of a kind of topic, in their order."""
        return [message for topic, message in self.said if parse(topic).kind == kind]

    def states(self) -> list[str]:
        """Return the states that were reported, each once in a row."""
        found: list[str] = []
        for report in self.of("reported"):
            if not found or found[-1] != report.state.value:
                found.append(report.state.value)
        return found

    def _publish(self, topic: str, message: Message, retain: bool = False) -> bool:
        del retain
        self.said.append((topic, message))
        if isinstance(message, Want) and self.answers_wants:
            self.loop.post(lambda: self._answer(message))
        return True

    def _answer(self, want: Want) -> None:
        index = self.store.index(want.artifact)
        bits = base64.b64decode(want.missing)
        places = [place for place in range(8 * len(bits)) if bits[place // 8] >> place % 8 & 1]
        ids = [*want.pieces, *(index.chunks[want.first + place].id for place in places)]
        pieces = {sha256_hex(piece): piece for piece in index_pieces(index)}
        for each in ids:
            payload = pieces[each] if each in pieces else self.store.chunk(want.artifact, each)
            assert sha256_hex(payload) == each
            self.hear(ChunkReceived(want.artifact, each, payload))
