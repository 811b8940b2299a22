"""The controller's numbers as Prometheus takes them.

Decides: which source each metric of the catalogue comes from. Leaves out: names and helps (`catalogue.py`), reading
(`snapshot.py`, `totals.py`), HTTP (`server.py`).
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import make_url

from controller.errors import ControllerError
from controller.export.catalogue import CATALOGUE, MetricKind
from controller.export.classes import UNCLASSED, ClassLabels
from controller.export.health import Health, Served
from controller.export.snapshot import Snapshot, Snapshots
from controller.export.totals import BOUNDS_S, Row, Totals
from wire.telemetry import Metrics

log = logging.getLogger(__name__)

TAKEN = "taken"
Values = Mapping[tuple[str, ...], float]


class Counted(Served, Protocol):
    """What is asked of the service beside its health."""

    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def published_bytes(self) -> Mapping[str, int]: ...
    @property
    def published_chunks(self) -> Mapping[str, int]: ...
    @property
    def epoch(self) -> int: ...


class ControllerCollector(Collector):
    """Collects at each scrape. `hear` is called with each metrics message that was stored."""

    def __init__(
        self,
        service: Counted,
        health: Health,
        snapshots: Snapshots,
        classes: ClassLabels,
        *,
        version: str,
        database_url: str,
    ) -> None:
        self._service, self._health, self._snapshots, self._classes = service, health, snapshots, classes
        self._version, self._database_url = version, database_url
        self._totals = Totals()

    def hear(self, metrics: Metrics) -> None:
        """Count what a device told."""
        cls = self._class_of(metrics)
        for each in metrics.workloads:
            self._totals.add((metrics.fleet, cls, self._classes.workload(metrics.fleet, each.workload)), each)

    def _class_of(self, metrics: Metrics) -> str:
        """Return the class of the device that told; one that is new here is looked up with all others."""
        known = self._classes.known(metrics.fleet, metrics.device)
        if known is None:
            try:
                self._snapshots.get()
            except ControllerError as exc:
                log.warning("the class of %s is not known yet: %s", metrics.device, exc)
        return known or self._classes.known(metrics.fleet, metrics.device) or UNCLASSED

    def describe(self) -> Iterable[Metric]:
        """Return nothing: that registering asks the database would help nobody."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has values."""
        yield from self._of_process()
        yield from self._of_telemetry(self._totals.rows())
        try:
            snapshot = self._snapshots.get()
        except ControllerError as exc:
            log.warning("metrics of the fleets are left out: %s", exc)
            return
        yield from _of_snapshot(snapshot)

    def _of_process(self) -> Iterator[Metric]:
        checks = {check.name: check.good for check in self._health.ready()}
        service = self._service
        values: dict[str, Values] = {
            "thresher_build_info": {(self._version,): 1.0},
            "thresher_broker_connected": {(): float(checks["broker"])},
            "thresher_leader": {(): float(checks["leadership"])},
            "thresher_leader_epoch": {(): float(service.epoch)},
            "thresher_engine_turns_total": {(): float(service.turns)},
            "thresher_database_writable": {(): float(checks["database"])},
            "thresher_database_size_bytes": _size(self._database_url),
            "thresher_messages_total": _messages(service.counts),
            "thresher_published_chunks_total": {(): float(sum(service.published_chunks.values()))},
            "thresher_published_bytes_total": {(): float(sum(service.published_bytes.values()))},
        }
        yield from (_family(CATALOGUE[name], found) for name, found in values.items())

    def _of_telemetry(self, rows: Mapping[tuple[str, str, str], Row]) -> Iterator[Metric]:
        for name, field in {
            "thresher_queries_total": "queries",
            "thresher_query_errors_total": "errors",
            "thresher_queries_lost_total": "lost",
            "thresher_worker_restarts_total": "restarts",
        }.items():
            yield _family(CATALOGUE[name], {labels: getattr(row, field) for labels, row in rows.items()})
        kind = CATALOGUE["thresher_inference_duration_seconds"]
        family = HistogramMetricFamily(kind.name, kind.help, labels=kind.labels)
        for labels, row in rows.items():
            family.add_metric(labels, _buckets(row), row.latency_sum_s)
        yield family


def _of_snapshot(snapshot: Snapshot) -> Iterator[Metric]:
    values: dict[str, Values] = {name: dict(counts) for name, counts in snapshot.counts.items()}
    values |= snapshot.largest
    values["thresher_snapshot_duration_seconds"] = {(): snapshot.took_s}
    yield from (_family(CATALOGUE[name], found) for name, found in values.items())


def _family(kind: MetricKind, values: Values) -> Metric:
    make = CounterMetricFamily if kind.kind == "counter" else GaugeMetricFamily
    family = make(kind.name, kind.help, labels=kind.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _buckets(row: Row) -> list[tuple[str, float]]:
    """Return cumulative counts under each bound, the open one last."""
    found, total = [], 0
    for bound, count in zip((*BOUNDS_S, float("inf")), row.latencies, strict=True):
        total += count
        found.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
    return found


def _messages(counts: Mapping[str, int]) -> Values:
    found: Counter[tuple[str, ...]] = Counter()
    for name, count in counts.items():
        kind, _, result = name.partition(".")
        found[kind, result or TAKEN] += count
    return dict(found)


def _size(url: str) -> Values:
    path = make_url(url).database if url.startswith("sqlite") else None
    try:
        return {(): float(Path(path).stat().st_size)} if path else {}
    except OSError:
        return {}
