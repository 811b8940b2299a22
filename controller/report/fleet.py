"""A fleet's devices as plain values: for `fleet show`, for the report's `fleet` and `attested`.

Decides: how a device's newest metrics become numbers. Leaves out: history (the metrics table keeps it).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.config.classes import class_of
from controller.config.fleet_file import DeviceClass
from controller.errors import NotFound
from controller.fleet.health import health_of
from controller.fleet.views import DeviceView, WorkloadView, device_views
from controller.store import devices, tables, telemetry
from controller.telemetry.numbers import newest, quantile, workload_numbers
from wire.presence import Inventory
from wire.telemetry import Metrics, WorkloadMetrics

LOOKED_AT = 1000
"""A device's newest events, in which its downloads are looked for."""


def fleet_summaries(session: Session) -> list[dict[str, Any]]:
    """Return each fleet with its number of devices, how many are online, and when one was last heard."""
    rows = []
    for name in devices.fleets(session):
        members = devices.in_fleet(session, name)
        rows.append(
            {
                "fleet": name,
                "devices": len(members),
                "online": sum(member.online for member in members),
                "enrolled": sum(member.enrolled_s is not None for member in members),
                "last_seen_s": max(member.last_seen_s for member in members),
            }
        )
    return rows


def device_rows(
    session: Session, fleet: str, classes: Sequence[DeviceClass], now_s: float | None = None
) -> list[dict[str, Any]]:
    """Return the fleet's devices with what they have, what runs and how it does; how well they are, if a time is given.

    Raises:
        NotFound: No device was ever seen in that fleet.
    """
    views = device_views(session, fleet)
    if not views:
        known = ", ".join(devices.fleets(session)) or "none"
        raise NotFound(f"no device was ever seen in fleet {fleet!r}; fleets with devices: {known}")
    names = variant_names(session, fleet)
    return [_device_row(view, classes, names, _health(view, now_s)) for view in views]


def fetched_rows(session: Session, fleet: str, device: str) -> list[dict[str, Any]]:
    """Return what a device's newest downloads took, oldest first: bytes from the network, and bytes that it had."""
    names = variant_names(session, fleet)
    told = [(row, row.document.get("traffic")) for row in telemetry.events(session, fleet, device, LOOKED_AT)]
    return [
        {"received_s": row.received_s, "variant": names.get(traffic["artifact"]), **traffic}
        for row, traffic in told
        if traffic is not None
    ]


def _health(view: DeviceView, now_s: float | None) -> dict[str, Any] | None:
    if now_s is None:
        return None
    found = health_of(view, now_s)
    return {"level": found.level, "reasons": list(found.reasons)}


def variant_names(session: Session, fleet: str) -> dict[str, str]:
    """Return bundle digest -> variant, over all deployments of a fleet."""
    query = (
        select(tables.Variant.bundle, tables.Variant.variant)
        .join(tables.Deployment, tables.Deployment.id == tables.Variant.deployment)
        .where(tables.Deployment.fleet == fleet, tables.Variant.bundle.is_not(None))
        .order_by(tables.Deployment.created_s)
    )
    return {bundle: variant for bundle, variant in session.execute(query) if bundle}


def inventory_facts(inventory: Inventory | None) -> dict[str, Any]:
    """Return what a device has, engines as `name version`."""
    if inventory is None:
        return {"inventory": None}
    facts = inventory.model_dump(mode="json")
    return {"inventory": {**facts, "engines": [f"{one.name} {one.version}" for one in inventory.engines]}}


def _device_row(
    view: DeviceView, classes: Sequence[DeviceClass], names: Mapping[str, str], health: Mapping[str, Any] | None
) -> dict[str, Any]:
    metrics = view.metrics
    return {
        "device": view.device,
        "device_class": class_of(classes, view.inventory) if view.inventory else None,
        "emulated": view.emulated,
        "simulated": view.simulated,
        "online": view.online,
        "enrolled": view.enrolled_s is not None,
        "health": health,
        "agent_version": view.agent_version,
        "last_seen_s": view.last_seen_s,
        "agent_pss_bytes": metrics.agent_pss_bytes if metrics else None,
        "memory_available_bytes": metrics.memory_available_bytes if metrics else None,
        "temperature_celsius": metrics.temperature_celsius if metrics else None,
        "throttled": metrics.throttled if metrics else None,
        "metrics_s": view.metrics_s,
        "workloads": [_workload_row(each, metrics, names) for each in view.workloads.values()],
        **inventory_facts(view.inventory),
    }


def _workload_row(view: WorkloadView, metrics: Metrics | None, names: Mapping[str, str]) -> dict[str, Any]:
    found = newest(metrics.workloads if metrics else (), view.workload, view.active)
    numbers = found or WorkloadMetrics(workload=view.workload)
    return {
        "workload": view.workload,
        "state": view.state.value,
        "gen": view.reported.gen if view.reported else None,
        "active": view.active,
        "serving": view.reported is not None and view.reported.serving is not None,
        "variant": names.get(view.active or ""),
        "error": view.reported.error.code if view.reported and view.reported.error else None,
        "queries": numbers.queries if found else None,
        "errors": numbers.errors if found else None,
        "lost": numbers.lost if found else None,
        "restarts": numbers.restarts if found else None,
        "p50_ms": quantile(numbers.latency_ms, 0.50),
        "p95_ms": quantile(numbers.latency_ms, 0.95),
        "worker_rss_bytes": numbers.worker_rss_bytes,
        "metrics": workload_numbers(found) if found else None,
    }
