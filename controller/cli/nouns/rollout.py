"""`controller rollout list|show|approve|pause|resume|abort|rollback`.

A wish is a row in the database: the process that leads (a `deploy`, or `serve`) carries it out, else this command does.
"""

import time
from collections.abc import Callable
from typing import Any

import click

from controller.cli.output import json_option, print_json, print_table, time_text
from controller.cli.session import opened, operator, reading, workspace

_MEANING = {
    "approve": "Let a rollout that waits for approval go on.",
    "pause": "Stop offering to further devices; what has begun ends by itself.",
    "resume": "Go on with a paused rollout.",
    "abort": "End a rollout where it stands; devices that have switched keep the new bundle.",
    "rollback": "Take a rollout back: devices that switched return to their previous bundle.",
}


@click.group()
def rollout() -> None:
    """List, show and steer rollouts."""


@rollout.command("list")
@click.option("--fleet", help="Only this fleet's.")
@json_option
def list_(fleet: str | None, as_json: bool) -> None:
    """List rollouts, newest first."""
    from controller.store import rollouts

    with reading() as session:
        rows = [_summary(row) for row in rollouts.listed(session, fleet)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("rollout", "fleet", "workload", "state", "wave", "because", "created"),
        [
            [
                *(row[name] for name in ("rollout", "fleet", "workload", "state")),
                row["wave"] + 1,  # as `show` and the report number them
                row["because"],
                time_text(row["created_s"]),
            ]
            for row in rows
        ],
    )


@rollout.command()
@click.argument("rollout_id", metavar="ROLLOUT")
@json_option
def show(rollout_id: str, as_json: bool) -> None:
    """Show a rollout's waves and devices."""
    from controller.report.waves import wave_rows
    from controller.store import rollouts

    with reading() as session:
        row = rollouts.get(session, rollout_id)
        document = {**_summary(row), "policy": row.policy, "wish": row.wish, "waves": wave_rows(session, rollout_id)}
    if as_json:
        print_json(document)
        return
    click.echo(f"{document['rollout']}  {document['state']}  {document['because']}")
    print_table(
        ("wave", "phase", "device", "class", "outcome", "reason", "offered", "ended"),
        [
            [
                wave["number"] + 1,
                wave["phase"],
                each["device"],
                each["device_class"],
                each["outcome"],
                each["reason"],
                time_text(each["offered_s"]),
                time_text(each["ended_s"]),
            ]
            for wave in document["waves"]
            for each in wave["devices"]
        ],
    )


def _summary(row: Any) -> dict[str, Any]:
    names = ("deployment", "fleet", "workload", "state", "wave", "because", "created_s", "updated_s", "finished_s")
    return {"rollout": row.id, **{name: getattr(row, name) for name in names}}


def _wish_command(wanted: str, meaning: str) -> click.Command:
    @click.command(wanted, help=meaning)
    @click.argument("rollout_id", metavar="ROLLOUT")
    @click.option("--dry-run", is_flag=True, help="Only check that the rollout is there.")
    def command(rollout_id: str, dry_run: bool) -> None:
        from controller.deploy.steer import is_led
        from controller.store import rollouts

        with opened() as store:
            if dry_run:
                with store.read() as session:
                    state = rollouts.get(session, rollout_id).state
                click.echo(f"would ask rollout {rollout_id} ({state}) to {wanted}")
                return
            with store.begin() as session:
                rollouts.wish(session, rollout_id, wanted, operator(), now_s=time.time())
            led = is_led(store)
        click.echo(f"{wanted} asked of rollout {rollout_id}")
        if not led:
            _carry_out(rollout_id)

    made: Callable[..., Any] = command
    assert isinstance(made, click.Command)
    return made


def _carry_out(rollout_id: str) -> None:
    """Nobody leads: this command does, until the rollout rests."""
    from controller.cli.progress import make_progress
    from controller.deploy.steer import carry_wish

    with make_progress() as progress:
        state = carry_wish(workspace(), rollout_id, progress)
    click.echo(f"rollout {rollout_id} is {state.replace('_', ' ')}")


for _wanted, _meaning in _MEANING.items():
    rollout.add_command(_wish_command(_wanted, _meaning))
