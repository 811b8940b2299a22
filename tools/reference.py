"""Write or check the generated pages of docs/reference and docs/schemas: `python -m tools.reference [--write]`.

Decides: which pages there are, and how those of the codes look. Leaves out: what is in them (`tools/source.py` and
`tools/codes.py` read it from the code, `docs/reference/codes.toml` says what codes mean), the commands
(`tools/commands.py`), the configuration (`tools/configuration.py`, `tools/schemas.py`), the messages
(`tools/messages.py`), the states (`tools/states.py`) and the table of engines (`tools/engines_table.py`), which is made
of a benchmark's committed result.
"""

import argparse
import sys
import tomllib
from collections.abc import Sequence

from tools import commands, configuration, engines_table, messages, schemas, states
from tools.codes import codes, find
from tools.source import ROOT, ErrorClass, error_classes, measuring_flags

DOCS = ROOT / "docs"
MEANINGS = DOCS / "reference" / "codes.toml"
NOTE = "<!-- Written by `make docs` from the code, codes.toml and keys.toml: change those. -->\n"

REASONS = """\
# Reason codes

A reason code says in one word why something was refused, failed or is doubted. Codes cross the wire in `reported`
(`error.code`), in events (`reason`) and in trials (`error`, `flags`), and stand in the audit log; the text beside them
is for people and may change. A code keeps its meaning; new ones may appear in any release.

{note}
## Errors

Each is the `reason` of an error class. The exit code is the one of a command that ends with it
([exit codes](exit-codes.md)).

| code | side | exit code | meaning |
|---|---|---|---|
{errors}

## In reports, events and trials

| code | meaning |
|---|---|
{codes}

## Flags of a trial

A flag is a reason to doubt a measurement. It is kept beside the samples and never removes one; one that is *void* makes
the trial's speed unusable.

| flag | void | what it means and what to do |
|---|---|---|
{flags}
"""

EXIT_CODES = """\
# Exit codes

The command lines `agent`, `controller` and `simulator` end with one of these.

{note}
| code | meaning | reasons |
|---|---|---|
{rows}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the pages; return the exit code (1: a page is out of date)."""
    parser = argparse.ArgumentParser(description="Write or check the generated pages.")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    stale = {name: text for name, text in pages().items() if not _is_current(name, text)}
    for name, text in stale.items():
        if options.write:
            (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}: {'written' if options.write else 'out of date, run  make docs'}")
    return 0 if options.write or not stale else 1


def pages() -> dict[str, str]:
    """Return file name below docs/ -> text of every generated file.

    Raises:
        KeyError: A code or exit code has no meaning in codes.toml.
    """
    return {
        "reference/reasons.md": _reasons(),
        "reference/exit-codes.md": _exit_codes(),
        "reference/commands.md": commands.page(NOTE),
        "reference/configuration.md": configuration.page(NOTE),
        "reference/states.md": states.page(NOTE, tomllib.loads(MEANINGS.read_text(encoding="utf-8"))["states"]),
        "reference/engines-table.md": engines_table.page(engines_table.read_result()),
        "images/states.svg": states.picture(),
        **{f"schemas/{kind}.schema.json": schemas.schema_text(kind) for kind in schemas.KINDS},
        "schemas/predict.openapi.json": schemas.openapi_text(),
        f"schemas/{messages.SCHEMAS_FILE}": messages.schemas_text(),
        "schemas/asyncapi.json": messages.asyncapi_text(),
    }


def undocumented() -> list[str]:
    """Return what keeps the pages from being right: codes without a meaning, and meanings without a code."""
    meanings = tomllib.loads(MEANINGS.read_text(encoding="utf-8"))
    given, described = set(other_codes()), set(meanings["codes"])
    faults = [f"{code} has no meaning in docs/reference/codes.toml" for code in sorted(given - described)]
    faults += [f"{code} in docs/reference/codes.toml is given nowhere" for code in sorted(described - given)]
    faults += [
        f"{place}: which reason code is this? Pass a constant, or a name `code` or `reason`" for place in find().unclear
    ]
    faults += configuration.faults()
    used = {str(error.exit_code) for error in error_classes() if error.exit_code is not None}
    return faults + [f"exit code {code} has no meaning" for code in sorted(used - set(meanings["exit_codes"]))]


def other_codes() -> list[str]:
    """Return the codes that neither an error class nor a measuring flag explains."""
    explained = {error.reason for error in error_classes()} | set(measuring_flags())
    return [code for code in codes() if code not in explained]


def _is_current(name: str, text: str) -> bool:
    path = DOCS / name
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _reasons() -> str:
    meanings = tomllib.loads(MEANINGS.read_text(encoding="utf-8"))["codes"]
    return REASONS.format(
        note=NOTE,
        errors="\n".join(_error_row(error) for error in sorted(error_classes(), key=lambda one: one.reason)),
        codes="\n".join(f"| `{code}` | {meanings[code]} |" for code in other_codes()),
        flags="\n".join(
            f"| `{flag}` | {'void' if void else ''} | {remedy[0].upper()}{remedy[1:]}. |"
            for flag, (remedy, void) in sorted(measuring_flags().items())
        ),
    )


def _error_row(error: ErrorClass) -> str:
    exit_code = "" if error.exit_code is None else error.exit_code
    return f"| `{error.reason}` | {error.package} | {exit_code} | {error.meaning} |"


def _exit_codes() -> str:
    meanings = tomllib.loads(MEANINGS.read_text(encoding="utf-8"))["exit_codes"]
    rows = []
    for code, meaning in meanings.items():
        reasons = sorted({f"`{error.reason}`" for error in error_classes() if str(error.exit_code) == code})
        rows.append(f"| {code} | {meaning} | {', '.join(reasons)} |")
    return EXIT_CODES.format(note=NOTE, rows="\n".join(rows))


if __name__ == "__main__":
    sys.exit(main())
