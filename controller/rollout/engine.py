"""The loop around `decide`: observe, decide, write, and leave the publishing to what was written.

Decides: nothing on its own; it carries decisions out. Each decision, its audit row and the desired documents that
follow from it are one transaction; `Documents.publish_due` then publishes it, so a killed controller goes on
where it was, and may publish a document twice but never one that it does not know of.
"""

import logging
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from itertools import takewhile
from typing import Any

from sqlalchemy.orm import Session

from controller.distribute.documents import Documents
from controller.errors import ConfigurationError, ControllerError
from controller.leadership import Leadership
from controller.rollout.assign import Candidate, assign_waves
from controller.rollout.decide import decide
from controller.rollout.desire import BundleSource, Desires
from controller.rollout.observe import observe, standing_of, stored
from controller.rollout.policy import RolloutPolicy
from controller.rollout.spec import RolloutSpec
from controller.rollout.view import (
    TERMINAL_PHASES,
    Decision,
    Hold,
    Offer,
    Outcome,
    Phase,
    RolloutView,
    Standing,
    outcome_of,
)
from controller.store import audit, desired, devices, rollouts, tables
from controller.store.database import Store

log = logging.getLogger(__name__)

MOST_STEPS = 20
"""Decisions that may follow one another at once; a rollout has few phases without a wait in between."""
_ENDS = frozenset({Outcome.COMMITTED, Outcome.FAILED, Outcome.INCOMPATIBLE, Outcome.ELSEWHERE})


class RolloutEngine:
    """Starts rollouts and carries them on, tick by tick; used by one thread at a time."""

    def __init__(
        self,
        store: Store,
        bundles: BundleSource,
        documents: Documents,
        leadership: Leadership,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._desires = Desires(bundles, documents, leadership, clock)
        self._leadership = leadership
        self._clock = clock
        self._troubles: dict[str, str] = {}

    def create(self, spec: RolloutSpec) -> str:
        """Write a rollout and return its id; a deployment that has one gets that one.

        Raises:
            ConfigurationError: No devices, or a device twice.
            NotFound: A bundle is not in the artifact store.
            Busy: This process does not lead any more.
        """
        names = [member.device for member in spec.members]
        if not names or len(set(names)) != len(names):
            raise ConfigurationError(
                f"a rollout takes each device once and at least one, got {', '.join(names) or 'none'}"
            )
        self._desires.check_bundles({member.bundle for member in spec.members})
        with self._store.begin() as session:
            self._leadership.check(session)
            started = rollouts.of_deployment(session, spec.deployment) if spec.deployment else None
            return started.id if started else self._write_new(session, spec)

    def tick(self, fleets: Collection[str]) -> bool:
        """Carry every rollout of these fleets on as far as it goes now; return whether anything was decided.

        Of other fleets nothing is heard here, and nothing may be decided.
        """
        with self._store.read() as session:
            ids = [row.id for row in rollouts.active(session) if row.fleet in fleets]
        return sum(self._tick_safely(rollout) for rollout in ids) > 0

    def _tick_safely(self, rollout: str) -> bool:
        try:
            steps = sum(1 for _ in takewhile(bool, (self._step(rollout) for _ in range(MOST_STEPS))))
        except ControllerError as exc:
            # Said once, not every half second; the rollout stays where it is until the cause is gone.
            if self._troubles.get(rollout) != str(exc):
                log.error("rollout %s cannot go on: %s", rollout, exc)
            self._troubles[rollout] = str(exc)
            self._leadership_still_holds()
            return False
        self._troubles.pop(rollout, None)
        return steps > 0

    def _leadership_still_holds(self) -> None:
        with self._store.read() as session:
            self._leadership.check(session)

    def _step(self, rollout: str) -> bool:
        with self._store.read() as session:
            row = rollouts.get(session, rollout)
            policy = RolloutPolicy.model_validate(row.policy)
            view, now_s = observe(session, row, policy), self._clock()
            if not decide(policy, view, now_s).changed and not _news(session, row, view, policy, now_s):
                return False
        with self._store.begin() as session:
            self._leadership.check(session)
            row, now_s = rollouts.get(session, rollout), self._clock()
            view = observe(session, row, policy)
            decision = decide(policy, view, now_s)
            for member, outcome, reason in _news(session, row, view, policy, now_s):
                member.outcome, member.reason = outcome.value, reason
                member.ended_s = now_s if outcome in _ENDS else None
            if decision.changed:
                self._carry_out(session, row, policy, decision)
        return True

    def _carry_out(self, session: Session, row: tables.Rollout, policy: RolloutPolicy, decision: Decision) -> None:
        now_s, before = self._clock(), standing_of(row)
        detail: dict[str, Any] = {
            "from": {"phase": before.phase, "wave": before.wave},
            "to": {"phase": decision.standing.phase, "wave": decision.standing.wave},
            "because": decision.because,
            "rulings": [asdict(ruling) for ruling in decision.rulings],
            "actions": [{"does": type(each).__name__.lower(), **asdict(each)} for each in decision.actions],
            "wish": row.wish if decision.wish_done else None,
        }
        actor = row.wish_actor if decision.wish_done and row.wish_actor else "controller"
        audit.append(session, actor, f"rollout.{decision.standing.phase.value}", row.id, detail, now_s=now_s)
        for action in decision.actions:
            self._act(session, row, policy, action)
        _write_waves(session, row, before, decision, now_s)
        row.state, row.wave, row.because = decision.standing.phase.value, decision.standing.wave, decision.because
        row.memory, row.updated_s = stored(decision.standing), now_s
        ended = decision.standing.phase in TERMINAL_PHASES
        row.finished_s = (row.finished_s or now_s) if ended else None
        if decision.wish_done:
            row.wish = row.wish_actor = None
        log.info("rollout %s: %s, wave %d: %s", row.id, row.state, row.wave, row.because)

    def _act(self, session: Session, row: tables.Rollout, policy: RolloutPolicy, action: Any) -> None:
        member = session.get_one(tables.RolloutDevice, (row.id, action.device))
        if isinstance(action, Offer):
            member.offered_gen = self._desires.offer(session, row, member, policy)
            member.offered_s, member.outcome, member.ended_s = self._clock(), None, None
        elif isinstance(action, Hold):
            member.restored_gen = self._desires.hold(session, row, member)
        else:
            member.restored_gen = self._desires.restore(session, row, member, action.bundle)

    def _write_new(self, session: Session, spec: RolloutSpec) -> str:
        now_s = self._clock()
        rollout = f"r-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now_s))}-{secrets.token_hex(3)}"
        row = tables.Rollout(
            id=rollout,
            deployment=spec.deployment,
            fleet=spec.fleet,
            workload=spec.workload,
            policy=spec.policy.model_dump(mode="json"),
            retry_nonce=spec.retry_nonce,
            state=Phase.DRAFT.value,
            memory=stored(Standing(since_s=now_s)),
            created_s=now_s,
            updated_s=now_s,
        )
        session.add(row)
        session.flush()
        waves = assign_waves(spec.policy, rollout, _candidates(session, spec))
        for member in spec.members:
            session.add(_member(session, spec, rollout, member.device, waves[member.device]))
        for number in sorted(set(waves.values())):
            session.add(tables.Wave(rollout=rollout, number=number, phase=Phase.PLANNED.value))
        detail = {"policy": row.policy, "members": [asdict(member) for member in spec.members], "waves": waves}
        audit.append(session, spec.actor, "rollout.created", rollout, detail, now_s=now_s)
        return rollout


def _candidates(session: Session, spec: RolloutSpec) -> list[Candidate]:
    online = {row.device for row in devices.in_fleet(session, spec.fleet) if row.online}
    return [Candidate(each.device, each.device_class, each.device in online) for each in spec.members]


def _member(session: Session, spec: RolloutSpec, rollout: str, device: str, wave: int) -> tables.RolloutDevice:
    member = next(each for each in spec.members if each.device == device)
    said = session.get(tables.Reported, (spec.fleet, device, spec.workload))
    asked = desired.get(session, spec.fleet, device, spec.workload)
    previous = said.active if said else None
    limits = spec.limits.get(member.device_class)
    return tables.RolloutDevice(
        rollout=rollout,
        device=device,
        device_class=member.device_class,
        wave=wave,
        bundle=member.bundle,
        previous=previous,
        previous_document=asked.document if asked and asked.bundle == previous and asked.document else None,
        limits=limits.model_dump(mode="json", exclude_none=True) if limits else None,
    )


def _news(
    session: Session, row: tables.Rollout, view: RolloutView, policy: RolloutPolicy, now_s: float
) -> list[tuple[tables.RolloutDevice, Outcome, str | None]]:
    """Return the devices whose outcome is another than the stored one; stored outcomes stay once the rollout ended."""
    if view.standing.phase in TERMINAL_PHASES:
        return []
    members = {member.device: member for member in rollouts.devices(session, row.id)}
    seen = [(members[each.device], outcome_of(each, policy, now_s), each.error or None) for each in view.devices]
    return [(member, outcome, error) for member, outcome, error in seen if _is_news(member, outcome)]


def _is_news(member: tables.RolloutDevice, outcome: Outcome) -> bool:
    if member.restored_gen is not None and outcome is Outcome.ELSEWHERE:
        return False  # it follows the rollback: how the offer came out is already on record
    return (member.outcome or Outcome.UNOFFERED.value) != outcome.value


def _write_waves(session: Session, row: tables.Rollout, before: Standing, decision: Decision, now_s: float) -> None:
    after = decision.standing
    if (old := session.get(tables.Wave, (row.id, before.wave))) is not None:
        if decision.rulings:
            old.ruling = {"because": decision.because, "rulings": [asdict(ruling) for ruling in decision.rulings]}
        if after.wave != before.wave or after.phase in TERMINAL_PHASES:
            old.ended_s = old.ended_s or now_s
            old.phase = "done" if after.wave != before.wave else after.phase.value
    wave = session.get(tables.Wave, (row.id, after.wave))
    if wave is None or after.phase in TERMINAL_PHASES:
        return
    wave.phase = after.phase.value
    if after.phase is Phase.OFFER:
        wave.offered_s = wave.offered_s or now_s
    if after.phase is Phase.SOAK:
        wave.soak_from_s = wave.soak_from_s or now_s
