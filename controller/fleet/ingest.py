"""What devices say, decoded and stored: the only place in the controller that reads bytes from the network.

Decides: what is believed (a body must speak of the device of its topic), what is dropped and counted, what the fleet
knows that this database does not. Leaves out: what follows (the service carries `Effects` out).
One transaction a batch; a batch that fails is taken message by message, so that one bad message costs only itself.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy.orm import Session

from controller.distribute.reconcile import DeviceKey, RetainedKey
from controller.enrolment import take_claim
from controller.errors import DiskFull
from controller.fleet.ahead import fleet_is_ahead
from controller.fleet.records import collect
from controller.fleet.samples import SampleFolder
from controller.keys import SigningKey
from controller.mqtt import Received
from controller.store import desired as desired_rows
from controller.store import devices, telemetry
from controller.store.database import Store
from controller.telemetry import raw_rows
from wire.artifact import Want
from wire.base import decode
from wire.canonical import sha256_hex
from wire.claim import Claim, Claimed
from wire.envelope import Envelope, open_envelope
from wire.errors import MalformedMessage, WireError
from wire.presence import Event, Inventory, Presence, Sync, protocol_fault
from wire.raw import RawPart
from wire.sample import SamplePart
from wire.telemetry import Metrics
from wire.topics import Address, parse
from wire.trial import Plan, TrialPart
from wire.update import Desired, Reported

log = logging.getLogger(__name__)


@dataclass
class Effects:
    """What a batch asks for beside the rows that it wrote."""

    acknowledge: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    wants: list[tuple[str, Want]] = field(default_factory=list)
    claimed: list[Claimed] = field(default_factory=list)
    retained: dict[RetainedKey, str] = field(default_factory=dict)
    heard: set[DeviceKey] = field(default_factory=set)
    metrics: list[Metrics] = field(default_factory=list)
    """Intervals that were news."""
    epoch_seen: int = 0
    changed: bool = False

    def add(self, other: "Effects") -> None:
        """Take in the effects of another part of the batch."""
        for device, received in other.acknowledge.items():
            mine = self.acknowledge.setdefault(device, [])
            mine += [trial for trial in received if trial not in mine]
        for device, samples in other.samples.items():
            mine = self.samples.setdefault(device, [])
            mine += [sample for sample in samples if sample not in mine]
        self.wants += other.wants
        self.metrics += other.metrics
        self.claimed += other.claimed
        self.retained |= other.retained
        self.heard |= other.heard
        self.epoch_seen = max(self.epoch_seen, other.epoch_seen)
        self.changed = self.changed or other.changed


class Ingest:
    """Decodes and stores. `counts` says what came and what was refused, by kind."""

    def __init__(self, store: Store, key: SigningKey, samples: SampleFolder, clock: Callable[[], float]) -> None:
        self._store = store
        self._samples = samples
        self._key = key
        self._clock = clock
        self.counts: Counter[str] = Counter()
        self.former_life_s = 0.0
        """Last heartbeat of the former leader: what was begun before, a fleet that is ahead has overtaken."""
        self._readers: dict[str, Callable[[Session, Address, Received], Effects]] = {
            "presence": self._presence,
            "inventory": self._inventory,
            "reported": self._reported,
            "desired": self._desired,
            "plan": self._plan,
            "trial": self._trial,
            "sample": self._sample,
            "event": self._event,
            "metrics": self._metrics,
            "sync": self._sync,
            "want": self._want,
            "claim": self._claim,
            "raw_part": self._raw_part,
        }

    def batch(self, messages: Sequence[Received]) -> Effects:
        """Store what `messages` say and return what else is to be done, once it is stored.

        Raises:
            DiskFull: Nothing was stored; the messages may be given again.
        """
        try:
            return self._transaction(messages)
        except DiskFull:
            raise
        except Exception as exc:
            if len(messages) == 1:
                self.counts["failed"] += 1
                log.exception("message on %s could not be stored", messages[0].topic)
                return Effects()
            log.warning("a batch of %d messages failed (%s): taking them one by one", len(messages), exc)
        effects = Effects()
        for message in messages:
            effects.add(self.batch([message]))
        return effects

    def _transaction(self, messages: Sequence[Received]) -> Effects:
        effects = Effects()
        with self._store.begin() as session:
            for message in messages:
                effects.add(self._read(session, message))
        return effects

    def _read(self, session: Session, message: Received) -> Effects:
        kind = "unknown"
        try:
            address = parse(message.topic)
            kind = address.kind
            effects = self._readers[kind](session, address, message)
        except (WireError, KeyError) as exc:
            self.counts[f"{kind}.malformed"] += 1
            log.warning("message on %s is ignored: %s", message.topic[:300], exc)
            return Effects()
        self.counts[kind] += 1
        return effects

    def _presence(self, session: Session, address: Address, message: Received) -> Effects:
        if not message.payload:  # a retained presence that was cleared
            return Effects()
        presence = _of_device(decode(Presence, message.payload), address)
        fault = protocol_fault(presence.protocol)
        if fault is not None:
            self.counts["presence.unserved"] += 1
            log.warning("%s/%s is not served: it %s", presence.fleet, presence.device, fault)
        changed = devices.set_presence(session, presence, now_s=self._clock(), live=not message.retained)
        # One that has reports sends them too, and they may show that it is ahead of this database: wait for those.
        key = (presence.fleet, presence.device)
        speaks = presence.online and fault is None and not devices.has_reported(session, *key)
        return Effects(changed=changed, heard={key} if speaks else set())

    def _inventory(self, session: Session, address: Address, message: Received) -> Effects:
        inventory = _of_device(decode(Inventory, message.payload), address)
        devices.set_inventory(session, inventory, now_s=self._clock(), live=not message.retained)
        return Effects(changed=True)

    def _reported(self, session: Session, address: Address, message: Received) -> Effects:
        report = _of_device(decode(Reported, message.payload), address)
        if report.workload != address.workload:
            raise MalformedMessage(f"report of workload {report.workload!r} on the topic of {address.workload!r}")
        if not desired_rows.believable(session, report):
            raise MalformedMessage(f"generation {report.gen}, epoch {report.epoch}: beyond what a fleet can reach")
        heard = {(report.fleet, report.device)}
        if not devices.record_report(session, report, now_s=self._clock(), live=not message.retained):
            self.counts["reported.duplicate"] += 1
            return Effects(heard=heard)
        if desired_rows.adopt_report(session, report, now_s=self._clock()):
            fleet_is_ahead(session, report, before_s=self.former_life_s, now_s=self._clock())
        return Effects(changed=True, epoch_seen=report.epoch, heard=heard)

    def _desired(self, session: Session, address: Address, message: Received) -> Effects:
        if not message.retained:  # our own publication, as the broker passes it on
            return Effects()
        device, workload = str(address.device), str(address.workload)
        effects = Effects(retained={(address.fleet, device, workload): sha256_hex(message.payload)})
        if not message.payload:
            return effects
        envelope = decode(Envelope, message.payload)
        document = _of_device(open_envelope("desired", envelope, Desired, self._key.verify), address)
        effects.epoch_seen = document.epoch
        text = message.payload.decode()
        if desired_rows.adopt_document(session, document, text, now_s=self._clock()):
            fleet_is_ahead(session, document, before_s=document.issued_s, now_s=self._clock())
            effects.changed = True
        return effects

    def _plan(self, _session: Session, address: Address, message: Received) -> Effects:
        if not message.retained:
            return Effects()
        effects = Effects(retained={(address.fleet, str(address.device), ""): sha256_hex(message.payload)})
        if message.payload:
            plan = open_envelope("plan", decode(Envelope, message.payload), Plan, self._key.verify)
            effects.epoch_seen = _of_device(plan, address).epoch
        return effects

    def _trial(self, session: Session, address: Address, message: Received) -> Effects:
        part = decode(TrialPart, message.payload)
        if part.trial != address.item:
            raise MalformedMessage(f"part of trial {part.trial!r} on the topic of {address.item!r}")
        if not collect(session, address, part, now_s=self._clock()):
            return Effects()
        return Effects(acknowledge={(address.fleet, str(address.device)): [part.trial]}, changed=True)

    def _sample(self, session: Session, address: Address, message: Received) -> Effects:
        part = decode(SamplePart, message.payload)
        if part.sample != address.item:
            raise MalformedMessage(f"part of sample {part.sample!r} on the topic of {address.item!r}")
        key = (address.fleet, str(address.device))
        if not self._samples.collect(address, part, lambda name: devices.has_reported(session, *key, name)):
            return Effects()
        return Effects(samples={key: [part.sample]})

    def _event(self, session: Session, address: Address, message: Received) -> Effects:
        event = _of_device(decode(Event, message.payload), address)
        devices.touch(session, event.fleet, event.device, now_s=self._clock())
        return Effects(changed=telemetry.add_event(session, event, now_s=self._clock()))

    def _metrics(self, session: Session, address: Address, message: Received) -> Effects:
        metrics = _of_device(decode(Metrics, message.payload), address)
        if telemetry.add_metrics(session, metrics, now_s=self._clock()):
            devices.set_metrics(session, metrics, now_s=self._clock())
            return Effects(changed=True, metrics=[metrics])
        return Effects()

    def _sync(self, session: Session, address: Address, message: Received) -> Effects:
        sync = _of_device(decode(Sync, message.payload), address)
        devices.touch(session, sync.fleet, sync.device, now_s=self._clock())
        desired_rows.ask_again(session, sync.fleet, sync.device)
        return Effects(changed=True, heard={(sync.fleet, sync.device)})

    def _want(self, _session: Session, address: Address, message: Received) -> Effects:
        want = decode(Want, message.payload)
        if want.artifact[0] != address.item:
            raise MalformedMessage(f"want for {want.artifact} on shard {address.item!r}")
        return Effects(wants=[(address.fleet, want)])

    def _raw_part(self, session: Session, address: Address, message: Received) -> Effects:
        part = _of_device(decode(RawPart, message.payload), address)
        if part.request != address.item:
            raise MalformedMessage(f"part of request {part.request!r} on the topic of {address.item!r}")
        return Effects(changed=raw_rows.add_part(session, part, now_s=self._clock()))

    def _claim(self, session: Session, address: Address, message: Received) -> Effects:
        claim = _of_device(decode(Claim, message.payload), address)
        answer = take_claim(session, claim, now_s=self._clock())
        if not answer.accepted:
            self.counts["claim.refused"] += 1
            log.warning("claim of %s/%s is refused: %s", claim.fleet, claim.device, answer.reason)
        return Effects(claimed=[answer], changed=answer.accepted)


_Body = TypeVar("_Body", Presence, Inventory, Reported, Desired, Plan, Event, Metrics, Sync, Claim, RawPart)


def _of_device(body: _Body, address: Address) -> _Body:
    if (body.fleet, body.device) != (address.fleet, address.device):
        raise MalformedMessage(f"body of {body.fleet}/{body.device} on a topic of {address.fleet}/{address.device}")
    return body
