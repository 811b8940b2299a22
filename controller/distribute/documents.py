"""Desired documents and plans on their way out: signed, written, published until a broker has them.

Decides: validity, when a document is issued anew, when it is published again. Leaves out: what the documents say.
A row is written first and published afterwards, at least once: a controller killed in between publishes on its return.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.keys import SigningKey
from controller.mqtt import Publication
from controller.store import desired as desired_rows
from controller.store import tables, trials
from controller.store.database import Store
from controller.telemetry.raw_publish import publish_requests
from wire.base import encode
from wire.claim import Claimed
from wire.envelope import DocumentKind, seal
from wire.presence import Ack
from wire.raw import RawRequest
from wire.topics import Topics
from wire.trial import Plan, PlanPolicy
from wire.update import Desired

log = logging.getLogger(__name__)

VALID_S = 14 * 86400.0
"""A document is good for two weeks: a device that was off for so long asks for it again and gets a fresh one."""
REISSUE_BEFORE_S = VALID_S / 2
"""A document is issued anew when it is good for less."""
UNHEARD_S = 60.0
"""A published document that a present device has not answered for so long is published again."""
ACKNOWLEDGE_TIMEOUT_S = 5.0


class Publisher(Protocol):
    """What is needed of the broker's client."""

    @property
    def connected(self) -> bool: ...
    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Publication: ...


class Documents:
    """Seals and publishes; the database says what is still to be published."""

    def __init__(self, store: Store, key: SigningKey, client: Publisher, clock: Callable[[], float]) -> None:
        self._store = store
        self._key = key
        self._client = client
        self._clock = clock

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._client.connected

    def write_desired(self, session: Session, document: Desired) -> None:
        """Sign a desired document and write it, to be published once the transaction is kept."""
        desired_rows.write(session, document, self._seal("desired", document), now_s=self._clock())

    def write_plan(self, session: Session, fleet: str, device: str, policy: PlanPolicy, epoch: int) -> None:
        """Sign and write a device's plan: all trials that are still open there, over all deployments."""
        now_s = self._clock()
        plan = Plan(
            fleet=fleet,
            device=device,
            plan_gen=desired_rows.next_plan_gen(session, fleet, device, now_s=now_s),
            epoch=epoch,
            trials=tuple(trials.open_requests(session, fleet, device)),
            policy=policy,
            issued_s=now_s,
            expires_s=now_s + VALID_S,
        )
        desired_rows.write_plan(session, plan, self._seal("plan", plan), now_s=now_s)

    def clear_done_plans(self, session: Session, epoch: int) -> int:
        """Write an empty plan for each device whose trials have all come back: nothing is measured twice."""
        cleared = 0
        for row in session.scalars(select(tables.Plan)):
            if row.document.get("trials") and not trials.open_requests(session, row.fleet, row.device):
                policy = PlanPolicy.model_validate(row.document.get("policy", {}))
                self.write_plan(session, row.fleet, row.device, policy, epoch)
                cleared += 1
        return cleared

    def publish_due(self, fleets: Collection[str]) -> int:
        """Publish every row of these fleets that no broker has acknowledged; return how many are acknowledged now.

        Other fleets of the workspace may have another broker: theirs stay until a leader listens to them.
        """
        if not self._client.connected:
            return 0
        publish_requests(self._store, self._client, partial(self._seal, "raw"), fleets, self._clock())
        with self._store.read() as session:
            rows: list[tables.Desired | tables.Plan] = [*desired_rows.unpublished(session, fleets)]
            rows += desired_rows.unpublished_plans(session, fleets)
        if not rows:
            return 0
        sent = [(row, self._client.publish(_topic(row), row.envelope.encode(), retain=True)) for row in rows]
        deadline = time.monotonic() + ACKNOWLEDGE_TIMEOUT_S
        taken = [row for row, publication in sent if publication.wait(max(0.0, deadline - time.monotonic()))]
        with self._store.begin() as session:
            for row in taken:
                desired_rows.mark_published(session, row, now_s=self._clock())
        return len(taken)

    def acknowledge(self, fleet: str, device: str, received: Sequence[str], samples: Sequence[str] = ()) -> None:
        """Tell a device that these trials' records, and these samples, are stored."""
        self._client.publish(Topics(fleet).ack(device), encode(Ack(trials=tuple(received), samples=tuple(samples))))

    def answer_claim(self, answer: Claimed) -> None:
        """Tell a device what became of its claim; it claims again until it hears it."""
        self._client.publish(Topics(answer.fleet).claimed(answer.device), self._seal("claimed", answer).encode())

    def reissue_expiring(self, session: Session, epoch: int) -> int:
        """Issue documents anew, with the same generation, that will not be good for long; return how many."""
        now_s = self._clock()
        rows = [row for row in session.scalars(select(tables.Desired)) if row.envelope]
        expiring = [row for row in rows if row.document["expires_s"] - now_s < REISSUE_BEFORE_S]
        for row in expiring:
            fresh = {"epoch": epoch, "issued_s": now_s, "expires_s": now_s + VALID_S}
            adopted = row.adopted
            self.write_desired(session, Desired.model_validate(row.document | fresh))
            row.adopted = adopted
        return len(expiring)

    def repeat_unheard(self, session: Session, since_s: float) -> int:
        """Mark documents for publication that a device heard `since_s` should have answered by now; return how many."""
        before_s, repeated = self._clock() - UNHEARD_S, 0
        for row in session.scalars(select(tables.Desired).where(tables.Desired.published_s < before_s)):
            device = session.get(tables.Device, (row.fleet, row.device))
            said = session.get(tables.Reported, (row.fleet, row.device, row.workload))
            present = device is not None and device.online and device.last_seen_s >= since_s
            if row.envelope and present and (said is None or said.gen < row.gen):
                row.published_s = None
                repeated += 1
        return repeated

    def _seal(self, kind: DocumentKind, document: Desired | Plan | Claimed | RawRequest) -> str:
        return encode(seal(kind, document, self._key.key_id, self._key.sign)).decode()


def _topic(row: tables.Desired | tables.Plan) -> str:
    topics = Topics(row.fleet)
    return topics.desired(row.device, row.workload) if isinstance(row, tables.Desired) else topics.plan(row.device)
