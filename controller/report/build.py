"""The report of one deploy: everything that was made, measured, decided and attested, from the database.

Decides: the document's shape. Its top-level keys are part of the product: `fleet, baseline, variants, trials,
fleetwide, choices, waves, attested`, with `deployment`, `conditions` and `host` beside them. Leaves out: how it looks
(`html`).
Times are seconds since the epoch, sizes bytes, ratios 0 to 1; speed-up = baseline time / variant time.

    report = build_report(session, "20261101-120000-ab12", describe_host())
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from controller.config.fleet_file import FleetFile
from controller.errors import NotFound
from controller.report.by_class.engines import engines_side_by_side, with_engines
from controller.report.by_class.front import accuracy_latency_size_front
from controller.report.fleet import device_rows, variant_names
from controller.report.fleetwide.section import fleetwide_rows
from controller.report.lineage import lineage_of
from controller.report.trials import trial_row
from controller.report.waves import wave_rows
from controller.store import deployments, rollouts, tables, trials
from controller.store.devices import reports

SCHEMA = 1
Report = dict[str, Any]


def build_report(session: Session, deployment: str, host: Mapping[str, Any]) -> Report:
    """Return the report of a deployment.

    Args:
        session: Of a reading transaction: the report is one consistent view.
        deployment: Its id.
        host: What `describe_host` says of this machine.
    Raises:
        NotFound: No such deployment.
    """
    row = deployments.get(session, deployment)
    fleet_file = FleetFile.model_validate(row.settings["fleet_file"])
    devices = _devices(session, row, fleet_file)
    variants = [_variant_row(each) for each in deployments.variants(session, deployment)]
    engines = {each["variant"]: each["engine"] for each in variants}
    choices = [_choice_row(each, engines) for each in deployments.choices(session, deployment)]
    measured = [trial_row(each) for each in trials.of_deployment(session, deployment)]
    rollout = rollouts.of_deployment(session, deployment)
    return {
        "schema": SCHEMA,
        "deployment": _deployment_row(row, rollout),
        "host": dict(host),
        "conditions": _conditions(variants, measured, devices),
        "fleet": _fleet(row, fleet_file, devices),
        "baseline": next((each for each in variants if each["control"]), None),
        "variants": variants,
        "trials": measured,
        "fleetwide": fleetwide_rows(session, deployment),
        "choices": choices,
        "waves": wave_rows(session, rollout.id) if rollout else [],
        "attested": _attested(session, row, devices, choices),
    }


def latest_id(session: Session, fleet: str | None = None) -> str:
    """Return the id of the newest deployment that has something to show: variants were made.

    Where none has, the newest that did something: one that found the fleet up to date did not.

    Raises:
        NotFound: There is none.
    """
    rows = [row for row in deployments.listed(session, fleet) if row.stage != "up_to_date"]
    if not rows:
        raise NotFound("no deployment in this workspace yet: `controller deploy --fleet NAME` makes one")
    return next((row.id for row in rows if deployments.variants(session, row.id)), rows[0].id)


def _deployment_row(row: tables.Deployment, rollout: tables.Rollout | None) -> dict[str, Any]:
    names = ("fleet", "workload", "model", "model_version", "stage", "error", "result", "created_s", "finished_s")
    end = row.finished_s
    return {
        "id": row.id,
        **{name: getattr(row, name) for name in names},
        "duration_s": None if end is None else end - row.created_s,
        "settings_digest": row.settings.get("digest"),
        "stages": (row.progress or {}).get("stages", {}),
        "rollout": None
        if rollout is None
        else {name: getattr(rollout, name) for name in ("id", "state", "because", "created_s", "finished_s")},
    }


def _devices(session: Session, row: tables.Deployment, fleet_file: FleetFile) -> list[dict[str, Any]]:
    try:
        return device_rows(session, row.fleet, fleet_file.classes_of(row.workload))
    except NotFound:
        return []


def _fleet(row: tables.Deployment, fleet_file: FleetFile, devices: list[dict[str, Any]]) -> dict[str, Any]:
    groups = []
    for device_class in fleet_file.classes_of(row.workload):
        members = [each for each in devices if each["device_class"] == device_class.name]
        groups.append(
            {
                "name": device_class.name,
                "match": device_class.match.model_dump(mode="json", exclude_defaults=True),
                "engines": device_class.engines,
                "emulated": bool(members) and all(each["emulated"] for each in members),
                "devices": [each["device"] for each in members],
            }
        )
    return {"name": row.fleet, "workload": row.workload, "classes": groups, "devices": devices}


def _variant_row(row: tables.Variant) -> dict[str, Any]:
    names = ("variant", "bundle", "format", "engine", "control", "recipe", "offline", "screen", "error")
    return {**{name: getattr(row, name) for name in names}, "lineage": lineage_of(row.recipe)}


def _choice_row(row: tables.Choice, engines: Mapping[str, str]) -> dict[str, Any]:
    measured = with_engines(row.document.get("measured", ()), engines)
    choice = {
        "device_class": row.device_class,
        "variant": row.variant,
        "bundle": row.bundle,
        **row.document,
        "measured": measured,
        "front_accuracy_latency_size": accuracy_latency_size_front(measured),
    }
    return {**choice, "engines": engines_side_by_side(choice)}


def _conditions(
    variants: list[dict[str, Any]], measured: list[dict[str, Any]], devices: list[dict[str, Any]]
) -> dict[str, Any]:
    def seen(name: str) -> list[str]:
        return sorted({str(each[name]) for each in measured if each.get(name)})

    offline: dict[str, Any] = next((each["offline"] for each in variants if each["control"] and each["offline"]), {})
    caps = {(each.get("inventory") or {}).get("memory_cap_by") for each in devices}
    return {
        "grades": seen("grade"),
        "scenarios": seen("scenario"),
        "engines": sorted(
            {f"{one['engine']} {one['engine_version']}".strip() for one in measured if one.get("engine")}
        ),
        "agent_versions": seen("agent_version"),
        "emulated": any(each["emulated"] for each in devices),
        "simulated": any(each["simulated"] for each in devices),
        "memory_cap_by": sorted(cap for cap in caps if cap),
        "evaluation_samples": offline.get("samples"),
        "same_host": len({(each.get("inventory") or {}).get("host_id") for each in devices}) <= 1,
    }


def _engine(trial: dict[str, Any]) -> str:
    return f"{trial['engine']} {trial['engine_version']}".strip()


def _attested(
    session: Session, row: tables.Deployment, devices: list[dict[str, Any]], choices: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    names = variant_names(session, row.fleet)
    chosen = {choice["device_class"]: choice["bundle"] for choice in choices}
    said = {each.device: each for each in reports(session, row.fleet, row.workload)}
    rows = []
    for device in devices:
        report = said.get(device["device"])
        active = report.active if report else None
        wanted = chosen.get(device["device_class"])
        rows.append(
            {
                "device": device["device"],
                "device_class": device["device_class"],
                "emulated": device["emulated"],
                "online": device["online"],
                "workload": row.workload,
                "active": active,
                "serving": report is not None and active is not None and report.document.get("serving") == active,
                "variant": names.get(active or ""),
                "state": report.state if report else None,
                "gen": report.gen if report else None,
                "at_s": report.received_s if report else None,
                "as_chosen": active is not None and active == wanted,
            }
        )
    return rows
