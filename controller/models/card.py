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
    lines += [*_origin(facts.get("origin")), *_engines(facts.get("engines", {}))]
    samples = facts.get("samples")
    text = f"{samples['evaluation']} to evaluate, {samples['calibration']} to calibrate" if samples else "none given"
    return "\n".join([*lines, f"Labelled samples: {text}.", ""])


def _rows(found: Mapping[str, Any]) -> list[str]:
    operators = ", ".join(f"{name} {count}" for name, count in found["operators"].items())
    rows = [
        f"- file: {found['bytes']} bytes, weights {found['precision']}",
        f"- input: {_tensor(found['input'])}{', ' + found['layout'] if found['layout'] else ''}",
        f"- output: {_tensor(found['output'])}",
        *(f"- output: {_tensor(further)}" for further in found.get("further_outputs", ())),
        *(f"- state: {_tensor(one['input'])} from `{one['output']['name']}`" for one in found.get("state", ())),
    ]
    if found["parameters"] is not None:
        rows.append(f"- parameters: {found['parameters']}; multiply-accumulates of a query: {found['macs']}")
        rows.append(f"- operators: {operators}")
    return [*rows, *(f"- not counted: {reason}" for reason in found["uncounted"])]


def _tensor(tensor: Mapping[str, Any]) -> str:
    scale = tensor["quantisation"]
    quantised = f", scale {scale['scale']:g}, zero point {scale['zero_point']}" if scale else ""
    return f"`{tensor['name']}` {tensor['dtype']} {tuple(tensor['shape'])}{quantised}"


def _origin(origin: Mapping[str, Any] | None) -> list[str]:
    if origin is None:
        return []
    made_by = ", ".join(f"{name} {version}" for name, version in origin["made_by"].items())
    rows = [f"- source: {origin['source']}", *(f"- {note}" for note in origin["notes"])]
    return ["## Origin", "", *rows, *([f"- converted by {made_by}"] if made_by else []), ""]


def _engines(engines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Tell what each engine makes of the model, on the machine that imported it."""
    if not engines:
        return []
    rows = [
        f"- {name}{' ' + one['version'] if one['version'] else ''}: {said_of(one)}" for name, one in engines.items()
    ]
    return ["## Engines", "", *rows, ""]


def said_of(finding: Mapping[str, Any]) -> str:
    """Return what is known of an engine and the model, in words."""
    words = {True: "runs it", False: f"does not run it: {finding['because']}", None: finding["because"]}
    return str(words[finding["runs"]])
