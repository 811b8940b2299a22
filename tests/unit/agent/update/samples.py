"""Documents, facts and saved states that the update tests share."""

from typing import Any

from agent.update.machine import step
from agent.update.vocabulary import Event, Facts, Instruction, Saved, Ticket
from wire.artifact import ArtifactRef
from wire.device_state import State
from wire.update import Desired, ReportedError

A, B, C = "a" * 64, "b" * 64, "c" * 64
NOW_S = 2_000_000_000.0
FACTS = Facts("farm", "barn-1", frozenset({"onnxruntime"}), 10**9, NOW_S)
SERVING = Facts("farm", "barn-1", frozenset({"onnxruntime"}), 10**9, NOW_S, serving=True)


def ref(digest: str = A, size_bytes: int = 1000) -> ArtifactRef:
    return ArtifactRef(digest=digest, index=("d" * 64,), index_bytes=100, size_bytes=size_bytes, wire_bytes=500)


def desired(gen: int, bundle: str | None = A, **changes: Any) -> Desired:
    """Return a document for farm/barn-1/main; `bundle` null leaves it out."""
    fields: dict[str, Any] = {
        "fleet": "farm",
        "device": "barn-1",
        "workload": "main",
        "gen": gen,
        "epoch": 1,
        "action": "run",
        "bundle": ref(bundle) if bundle else None,
        "engine": "onnxruntime",
        "probation_s": 3.0,
        "issued_s": NOW_S - 10,
        "expires_s": NOW_S + 1000,
        **changes,
    }
    return Desired(**fields)


def saved(state: State, gen: int = 5, **changes: Any) -> Saved:
    """Return a workload in `state` that works on bundle A in `gen`, while C serves."""
    fields: dict[str, Any] = {
        "workload": "main",
        "state": state,
        "gen": gen,
        "epoch": 1,
        "desired": desired(gen) if gen else None,
        "active": C,
        **changes,
    }
    return Saved(**fields)


def error(code: str = "broken", error_class: str = "terminal") -> ReportedError:
    return ReportedError.model_validate({"code": code, "error_class": error_class})


def run(start: Saved, *events: Event) -> tuple[Saved, list[Instruction]]:
    """Feed events; return the last state and every instruction given on the way."""
    given: list[Instruction] = []
    for event in events:
        start, instructions = step(start, event)
        given += instructions
    return start, given


def ticket(of: Saved) -> Ticket:
    return of.ticket
