"""The card of an imported model: what was found in its files, for people."""

from collections.abc import Mapping
from typing import Any

from controller.models.folder import ModelFolder

CARD = "CARD.md"


def write_card(model: ModelFolder, facts: Mapping[str, Any]) -> None:
    """Write `CARD.md` into the model's folder."""
    (model.root / CARD).write_text(card(model, facts))


def card(model: ModelFolder, facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown; every number stands in `facts.json` too."""
    lines = [
        f"# {model.identity}",
        "",
        f"Kind: {model.kind}. Licence: {model.spec.licence or 'not stated'}.",
        f"Outputs: {', '.join(model.labels) or 'not named'}.",
        "",
    ]
    for form, found in facts["formats"].items():
        lines += [f"## {form}", "", *_rows(found), ""]
    samples = facts.get("samples")
    text = f"{samples['evaluation']} to evaluate, {samples['calibration']} to calibrate" if samples else "none given"
    return "\n".join([*lines, f"Labelled samples: {text}.", ""])


def _rows(found: Mapping[str, Any]) -> list[str]:
    operators = ", ".join(f"{name} {count}" for name, count in found["operators"].items())
    rows = [
        f"- file: {found['bytes']} bytes",
        f"- input: `{found['input']['name']}` {found['input']['dtype']} {tuple(found['input']['shape'])}",
        f"- output: `{found['output']['name']}` {found['output']['dtype']} {tuple(found['output']['shape'])}",
        f"- parameters: {found['parameters']}; multiply-accumulates of a query: {found['macs']}",
        f"- operators: {operators}",
    ]
    return [*rows, *(f"- not counted: {reason}" for reason in found["uncounted"])]
