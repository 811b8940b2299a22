"""The pages beside a running service: what `controller serve --http` puts up.

Decides: what is put together, and that a default port which is taken keeps no fleet from being served. Leaves out: the
pages (`server.py`) and their numbers (`collector.py`).
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from controller.config.fleet_file import FleetFile
from controller.errors import Busy
from controller.export.health import PATIENCE_MS, Check, Health, document
from controller.export.server import Address, Page, PageServer, json_page
from controller.service import Service
from controller.store.database import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HttpSettings:
    """Where pages are put up. `insists`: the address was asked for, so that one which is taken is an error."""

    address: Address
    fleets: Mapping[str, FleetFile] = field(default_factory=dict)
    insists: bool = True
    most_devices: int = 0


@contextmanager
def pages(service: Service, settings: HttpSettings) -> Iterator[PageServer | None]:
    """Put the pages up while the block runs; yield the server, or None where a default port was taken.

    Raises:
        Busy: The port that was asked for is taken.
    """
    store = Store(service.store.url, PATIENCE_MS)
    try:
        server = _listening(service, store, settings)
        if server is None:
            yield None
            return
        with server:
            where = server.address.shown
            log.info("metrics at http://%s/metrics, health at /healthz and /readyz", where)
            if not settings.address.is_loopback:
                log.warning("http://%s can be reached from other machines, without a password", where)
            yield server
    finally:
        service.on_metrics = None
        store.close()


def _listening(service: Service, store: Store, settings: HttpSettings) -> PageServer | None:
    health = Health(service, store)
    made: dict[str, Callable[[], Page]] = {
        "/metrics": _metrics(service, store, health, settings),
        "/healthz": lambda: _checked(health.alive()),
        "/readyz": lambda: _checked(health.ready()),
    }
    try:
        return PageServer(settings.address, made)
    except Busy as exc:
        if settings.insists:
            raise
        log.warning("no metrics are served: %s", exc)
        service.on_metrics = None
        return None


def _metrics(service: Service, store: Store, health: Health, settings: HttpSettings) -> Callable[[], Page]:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

    from controller.export.classes import ClassLabels
    from controller.export.collector import ControllerCollector
    from controller.export.snapshot import Snapshots

    classes = ClassLabels(settings.fleets)
    snapshots = Snapshots(store, service.fleets, classes, most_devices=settings.most_devices, clock=service.clock)
    collector = ControllerCollector(
        service, health, snapshots, classes, version=_version(), database_url=service.store.url
    )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    service.on_metrics = collector.hear
    return lambda: Page(200, CONTENT_TYPE_LATEST, generate_latest(registry))


def _checked(checks: list[Check]) -> Page:
    found = document(checks)
    return json_page(found, 200 if found["good"] else 503)


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("thresher")
    except metadata.PackageNotFoundError:
        return "source"
