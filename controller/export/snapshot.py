"""What the database says of the fleets, as numbers by label: read at most once in a few seconds, however many scrape.

Decides: which rows count for which label. Leaves out: names of metrics (`catalogue.py`).
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.export.classes import UNCLASSED, ClassLabels
from controller.store import tables
from controller.store.database import Store

FRESH_S = 5.0
PENDING = "pending"
"""Outcome of a device that has none yet."""
FAILED, COMMITTED = "failed", "committed"

Labels = tuple[str, ...]


@dataclass
class Snapshot:
    """Values by their labels' values, in the catalogue's order."""

    counts: dict[str, Counter[Labels]] = field(default_factory=lambda: defaultdict(Counter))
    """Metric -> labels -> how many."""
    largest: dict[str, dict[Labels, float]] = field(default_factory=lambda: defaultdict(dict))
    """Metric -> labels -> the largest value seen, or the only one."""
    took_s: float = 0.0

    def at_least(self, metric: str, labels: Labels, value: Any) -> None:
        """Note a value; the largest stays, and what is no number is left out."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.largest[metric][labels] = max(float(value), self.largest[metric].get(labels, float("-inf")))


class Snapshots:
    """Reads the database; safe to use from several threads."""

    def __init__(
        self,
        store: Store,
        fleets: Sequence[str],
        classes: ClassLabels,
        *,
        most_devices: int = 0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Choose what is read.

        Args:
            store: The workspace's database.
            fleets: Only these are told.
            classes: Labels.
            most_devices: Devices of each fleet that are told by name; 0: none.
            clock: Seconds since the epoch.
            monotonic: For the age of a snapshot.
        """
        self._store, self._fleets, self._classes = store, tuple(fleets), classes
        self._most_devices, self._clock, self._monotonic = most_devices, clock, monotonic
        self._lock = threading.Lock()
        self._last: tuple[float, Snapshot] | None = None

    def get(self) -> Snapshot:
        """Return a snapshot that is not older than a few seconds.

        Raises:
            ControllerError: The database cannot be read.
        """
        with self._lock:
            begun = self._monotonic()
            if self._last is None or begun - self._last[0] > FRESH_S:
                snapshot = self._read()
                snapshot.took_s = self._monotonic() - begun
                self._last = (begun, snapshot)
            return self._last[1]

    def _read(self) -> Snapshot:
        found, now_s = Snapshot(), self._clock()
        with self._store.read() as session:
            online = self._devices(session, found, now_s)
            self._workloads(session, found, online)
            self._rollouts(session, found, now_s)
            deployed = tables.Deployment
            for fleet, workload, stage, count in session.execute(
                select(deployed.fleet, deployed.workload, deployed.stage, func.count())
                .where(deployed.fleet.in_(self._fleets))
                .group_by(deployed.fleet, deployed.workload, deployed.stage)
            ):
                found.counts["thresher_deployments"][fleet, self._classes.workload(fleet, workload), stage] += count
        return found

    def _devices(self, session: Session, found: Snapshot, now_s: float) -> set[tuple[str, str]]:
        table = tables.Device
        columns = (table.fleet, table.device, table.online, table.last_seen_s, table.inventory, table.metrics)
        query = select(*columns).where(table.fleet.in_(self._fleets)).order_by(table.fleet, table.device)
        online: set[tuple[str, str]] = set()
        told: Counter[str] = Counter()
        for fleet, device, is_online, seen_s, inventory, metrics in session.execute(query):
            cls = self._classes.of(fleet, device, inventory)
            found.counts["thresher_devices"][fleet, cls, "online" if is_online else "offline"] += 1
            found.counts["thresher_devices_simulated"][(fleet,)] += bool((inventory or {}).get("simulated"))
            if is_online:
                online.add((fleet, device))
                self._vitals(found, (fleet, cls), metrics or {}, now_s - seen_s)
            told[fleet] += 1
            if told[fleet] <= self._most_devices:
                _by_name(found, (fleet, device), is_online, max(0.0, now_s - seen_s), metrics or {})
            elif self._most_devices:
                found.counts["thresher_devices_left_out"][(fleet,)] += 1
        return online

    def _vitals(self, found: Snapshot, labels: Labels, metrics: dict[str, Any], age_s: float) -> None:
        found.at_least("thresher_last_seen_age_seconds", labels, max(0.0, age_s))
        found.at_least("thresher_temperature_max_celsius", labels, metrics.get("temperature_celsius"))
        found.counts["thresher_throttled_devices"][labels] += metrics.get("throttled") is True
        for each in metrics.get("workloads", ()):
            memory = each.get("worker_pss_bytes", each.get("worker_rss_bytes"))
            workload = self._classes.workload(labels[0], each.get("workload", ""))
            found.at_least("thresher_worker_memory_max_bytes", (*labels, workload), memory)

    def _workloads(self, session: Session, found: Snapshot, online: set[tuple[str, str]]) -> None:
        table = tables.Reported
        query = select(table.fleet, table.device, table.workload, table.state).where(table.fleet.in_(self._fleets))
        for fleet, device, workload, state in session.execute(query):
            if (fleet, device) in online:
                cls = self._classes.known(fleet, device) or UNCLASSED
                found.counts["thresher_workload_devices"][
                    fleet, cls, self._classes.workload(fleet, workload), state
                ] += 1

    def _rollouts(self, session: Session, found: Snapshot, now_s: float) -> None:
        table = tables.Rollout
        newest: dict[Labels, tables.Rollout] = {}
        rows = session.scalars(select(table).where(table.fleet.in_(self._fleets)).order_by(table.created_s))
        for row in rows:
            labels = (row.fleet, self._classes.workload(row.fleet, row.workload))
            found.counts["thresher_rollouts"][(*labels, row.state)] += 1
            newest[labels] = row
        for of, row in newest.items():
            found.largest["thresher_rollout_wave"][of] = row.wave
            found.largest["thresher_rollout_age_seconds"][of] = max(0.0, now_s - row.created_s)
            found.largest["thresher_rollout_idle_seconds"][of] = max(0.0, now_s - row.updated_s)
            self._outcomes(session, found, of, row.id)

    def _outcomes(self, session: Session, found: Snapshot, labels: Labels, rollout: str) -> None:
        table = tables.RolloutDevice
        query = select(table.outcome, func.count()).where(table.rollout == rollout).group_by(table.outcome)
        counts = {outcome or PENDING: count for outcome, count in session.execute(query)}
        for outcome, count in counts.items():
            found.counts["thresher_rollout_devices"][(*labels, outcome)] += count
        ended = counts.get(FAILED, 0) + counts.get(COMMITTED, 0)
        if ended:
            found.largest["thresher_rollout_failure_ratio"][labels] = counts.get(FAILED, 0) / ended


def _by_name(found: Snapshot, labels: Labels, online: bool, age_s: float, metrics: dict[str, Any]) -> None:
    found.largest["thresher_device_online"][labels] = float(online)
    found.largest["thresher_device_last_seen_age_seconds"][labels] = age_s
    found.at_least("thresher_device_temperature_celsius", labels, metrics.get("temperature_celsius"))
