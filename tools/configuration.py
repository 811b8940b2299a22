"""The reference of all configuration as a page: every key of every YAML file, with type, default and meaning.

Decides: how types and defaults are worded. Leaves out: the keys themselves (`tools/schemas.py`).
"""

import json
from collections.abc import Iterator

from tools.schemas import KINDS, Document, Key, free_keys, keys, meaning_of, meanings, resolved, schema

PAGE = """\
# Configuration

Every key of the YAML files that people write. Unknown keys are refused with the file and the field; the controller
names the line as well. In a path, `[]` stands for each entry of a list and `NAME` for a name of your own. Editors that
know the YAML language server complete the files from their schemas: put `# yaml-language-server: $schema=PATH` on the
first line.

Variables stand over the files: `THRESHER_BROKER_HOST`, `_PORT`, `_USERNAME`, `_PASSWORD_FILE`, `_CA_FILE` over the
fleet file's `broker`, `THRESHER_AGENT_BROKER_USERNAME` and `THRESHER_AGENT_BROKER_PASSWORD` over the agent's;
`THRESHER_HOME` is the workspace, `THRESHER_DATABASE_URL` another database than its SQLite file. `THRESHER_HTTP` is
`--http` of `controller serve`; `THRESHER_SIMULATOR_BROKER_PASSWORD` is the password of `simulator run`.

{note}
{sections}"""

SECTION = """\
## {title}

{place}; schema: [{kind}.schema.json](../schemas/{kind}.schema.json).

| key | type | default | meaning |
|---|---|---|---|
{rows}
"""
NAME_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}$"
WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def page(note: str) -> str:
    """Return the page of all keys."""
    return PAGE.format(note=note, sections="\n".join(_section(kind) for kind in KINDS))


def faults() -> list[str]:
    """Return keys that nobody explains, and explanations of keys that do not exist."""
    found = []
    for kind in KINDS:
        document = schema(kind)
        paths = {key.path for key in keys(document)}
        silent = sorted({key.path for key in keys(document) if not meaning_of(key, document)})
        found += [f"{kind}: {path} has no meaning in docs/reference/keys.toml" for path in silent]
        found += [
            f"{kind}: {path} in docs/reference/keys.toml is no key" for path in sorted(set(meanings(kind)) - paths)
        ]
    return found


def _section(kind: str) -> str:
    document, place = schema(kind), KINDS[kind].place
    rows: dict[str, list[str]] = {}
    for key in keys(document):
        cells = [type_of(key.schema, document), _default(key), _meaning(key, document)]
        if key.path not in rows:
            rows[key.path] = cells
        elif cells[0] not in rows[key.path][0]:  # an alternative of the same section
            rows[key.path] = [f"{rows[key.path][0]}; or {cells[0]}", *rows[key.path][1:]]
    lines = [f"| `{path}` | {' | '.join(cells)} |" for path, cells in rows.items()]
    return SECTION.format(title=KINDS[kind].title, kind=kind, place=place, rows="\n".join(lines))


def _meaning(key: Key, document: Document) -> str:
    text = " ".join(meaning_of(key, document).split())
    more = f" The same keys as `{key.below}`." if key.below else ""
    return (text + more).replace("|", "\\|")


def _default(key: Key) -> str:
    if key.required:
        return "required there" if key.among and not key.path.endswith(".kind") else "**required**"
    if "default" not in key.schema:
        return ""
    default = key.schema["default"]
    if (isinstance(default, dict) and default) or (isinstance(default, list) and isinstance((default or [0])[0], dict)):
        return "see its keys"
    return f"`{json.dumps(default, ensure_ascii=False)}`".replace("|", "\\|")


def type_of(part: Document, document: Document) -> str:
    """Return the type of a value in words, bounds included."""
    options = part.get("anyOf") or part.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(type_of(each, document) for each in options))
    part = resolved(part, document)
    if "const" in part:
        return f"`{json.dumps(part['const'])}`"
    if "enum" in part:
        return ", ".join(f"`{each}`" for each in part["enum"])
    if part.get("type") == "array":
        return f"list of {type_of(part['items'], document)}" if "items" in part else "list"
    if part.get("type") == "object":
        inner = free_keys(part)
        return "section" if inner is None else f"mapping of {type_of(inner, document)}"
    return " ".join([_word(part), *_bounds(part)])


def _word(part: Document) -> str:
    if part.get("pattern") == NAME_PATTERN:
        return "name"
    if part.get("format") == "path":
        return "path"
    return WORDS[part["type"]]


def _bounds(part: Document) -> Iterator[str]:
    named = (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below"))
    yield from (
        f"{word} {part[name]:g}" if part[name] < 1e6 else f"{word} {part[name]}" for name, word in named if name in part
    )
