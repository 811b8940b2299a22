"""A rollout's waves as plain values: who was in each, what became of them, and how its gate ruled."""

from typing import Any

from sqlalchemy.orm import Session

from controller.store import rollouts

_MEMBER = (
    "device", "device_class", "bundle", "previous", "offered_gen", "restored_gen", "outcome", "reason", "offered_s",
    "ended_s",
)  # fmt: skip


def wave_rows(session: Session, rollout: str) -> list[dict[str, Any]]:
    """Return the waves of a rollout in their order, each with its devices; times in seconds since the epoch."""
    members: dict[int, list[dict[str, Any]]] = {}
    for row in rollouts.devices(session, rollout):
        members.setdefault(row.wave, []).append({name: getattr(row, name) for name in _MEMBER})
    known = {row.number: row for row in rollouts.waves(session, rollout)}
    times = ("phase", "offered_s", "soak_from_s", "ended_s", "ruling")
    return [
        {
            "rollout": rollout,
            "number": number,
            **{name: getattr(known.get(number), name, None) for name in times},
            "devices": members.get(number, []),
        }
        for number in sorted(members.keys() | known.keys())
    ]
