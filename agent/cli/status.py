"""`agent status`: what lies in the state folder, whether the agent runs or not."""

import json
from pathlib import Path
from typing import Any

import click


@click.command("status")
@click.option("--config", "config_path", type=click.Path(path_type=Path), required=True, help="The agent's YAML file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_path: Path, as_json: bool) -> None:
    """Show what this device serves, updates and measures. Works while the agent runs and when it does not."""
    from agent.config import load_config

    config = load_config(config_path)
    found = {"fleet": config.fleet, "device": config.device, **read_status(config.state_dir)}
    click.echo(json.dumps(found, indent=2) if as_json else _as_text(found))


def read_status(state_dir: Path) -> dict[str, Any]:
    """Return what the state folder tells; nothing in it is changed."""
    from agent.device.identity import agent_runs, read_identity
    from agent.update.slots import saved_workloads

    identity = read_identity(state_dir)
    running = agent_runs(state_dir)
    return {
        "state_dir": str(state_dir),
        "running": running,
        "pid": identity.get("pid") if running else None,
        "boots": identity.get("boots", 0),
        "workloads": [_workload(state_dir, name) for name in saved_workloads(state_dir)],
        "plan": _plan(state_dir),
        "artifacts": sorted(path.name for path in (state_dir / "artifacts").glob("*")),
        "downloads": sorted(path.name for path in (state_dir / "incoming").glob("*")),
    }


def _workload(state_dir: Path, name: str) -> dict[str, Any]:
    from agent.update.slots import WorkloadFolder

    saved = WorkloadFolder(state_dir / "workloads" / name).load()
    return {
        "workload": name,
        "state": saved.state.value,
        "gen": saved.gen,
        "attempt": saved.attempt,
        "active": saved.active,
        "previous": saved.previous,
        "desired": saved.candidate,
        "quarantined": list(saved.quarantined),
        "error": saved.error.model_dump() if saved.error is not None else None,
        "story": list(saved.story),
    }


def _plan(state_dir: Path) -> dict[str, Any]:
    from pydantic import ValidationError

    from agent.plan.agenda import Agenda

    try:
        agenda = Agenda.model_validate_json((state_dir / "plan.json").read_bytes())
    except (OSError, ValidationError):
        agenda = Agenda()
    unsent = sorted(path.name.split(".record")[0] for path in (state_dir / "outbox").glob("*.record.zz"))
    open_trials = [request.trial for request in agenda.open_requests()]
    return {"plan_gen": agenda.plan_gen, "open": open_trials, "done": list(agenda.done), "unsent": unsent}


def _as_text(found: dict[str, Any]) -> str:
    state = f"runs, process {found['pid']}" if found["running"] else "does not run"
    lines = [f"{found['fleet']}/{found['device']}: the agent {state}; {found['boots']} starts; {found['state_dir']}"]
    for workload in found["workloads"]:
        active = (workload["active"] or "nothing")[:12]
        lines.append(f"  {workload['workload']}: {workload['state']} (gen {workload['gen']}), serves {active}")
        if workload["error"] is not None:
            lines.append(f"    {workload['error']['code']}: {workload['error']['detail']}")
    plan = found["plan"]
    lines.append(
        f"  plan {plan['plan_gen']}: {len(plan['open'])} trials open, {len(plan['done'])} done, "
        f"{len(plan['unsent'])} records not acknowledged"
    )
    return "\n".join(lines)
