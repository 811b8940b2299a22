"""Every source, format and precision on its engine: what works, how near it comes, how large and how fast it is.

    python -m benchmarks.engines --quick                            what needs no converter environment and no engine
                                                                    beyond those installed here
    python -m benchmarks.engines --environments FOLDER --networks PYTHON --json > benchmarks/results/engines.json

`--environments FOLDER`: engines that cannot stand beside the others, each in `FOLDER/ENGINE/bin/python`.
`--networks PYTHON`: an interpreter whose packages bring further networks (`engine_parts/subjects/packages.py`).
`--state FOLDER` keeps what was made by content, and models that were measured until a run is complete: one that was
stopped goes on with the next model. All cells of a model are timed together, and no two models are compared.

Leaves out: the parts (`engine_parts`), and the page that is made of the result (`tools/engines_table.py`).
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common import Claim, conditions, repository, table
from benchmarks.engine_parts.cells import Row, as_json
from benchmarks.engine_parts.claims import MODEL, claims
from benchmarks.engine_parts.course import Ground, bundle_folder, run_subject
from benchmarks.engine_parts.finished import Finished, Shelf
from benchmarks.engine_parts.footprint import Footprint, footprint
from benchmarks.engine_parts.interpreters import devices, given_environments
from benchmarks.engine_parts.making import Workshop
from benchmarks.engine_parts.subjects import Subject
from benchmarks.engine_parts.subjects.packages import package_subjects
from benchmarks.engine_parts.subjects.reference import reference_subjects
from controller.compress.cache import PassCache
from controller.convert.environments import NAMES, environment

ROUNDS, QUICK_ROUNDS = 3, 2
STARTS, QUICK_STARTS = 3, 2
STATE = repository() / ".cache" / "engines"
CONVERTERS = (
    "torch",
    "litert-torch",
    "executorch",
    "coremltools",
    "onnx2tf",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "tf2onnx",
)


def main(arguments: Sequence[str]) -> None:
    """Run and print."""
    options = _options(arguments)
    before = conditions()
    state = options.state.absolute()
    workshop = Workshop(PassCache(state / "cache"), state / "datasets", options.quick, _say)
    given = None if options.quick else options.environments
    with devices(state / "devices", given.absolute() if given else None) as found:
        ground = Ground(workshop, found, state / "bundles", QUICK_ROUNDS if options.quick else ROUNDS)
        subjects = reference_subjects(state / "models", options.quick)
        if not options.quick:
            subjects += package_subjects(options.networks, state / "networks", _say)
        subjects = [each for each in subjects if options.only is None or each.name in options.only]
        shelf = Shelf(state / "finished", {"quick": options.quick, "given": str(given), "rounds": ground.rounds})
        measured = [shelf.read(subject.name) or _measured(subject, ground, shelf) for subject in subjects]
        rows = [row for one in measured for row in one.rows]
        footprints = _footprints(rows, ground)
    around = {**before, **_versions(), "quick": options.quick, "processes": ground.rounds, "nice": os.nice(0)}
    around["load_1m_after"] = round(os.getloadavg()[0], 2)
    judged = claims(rows, footprints)
    result = _result(around, list(zip(subjects, measured, strict=True)), footprints, judged)
    print(json.dumps(result, indent=1) if options.json else table(around, judged))
    if options.only is None:
        shelf.clear()


def _measured(subject: Subject, ground: Ground, shelf: Shelf) -> Finished:
    one = run_subject(subject, ground)
    shelf.keep(one)
    return one


def _result(
    around: dict[str, object],
    measured: Sequence[tuple[Subject, Finished]],
    footprints: Sequence[Footprint],
    judged: Sequence[Claim],
) -> dict[str, Any]:
    return {
        "benchmark": "engines",
        "conditions": around,
        "subjects": [
            {"name": each.name, "sources": list(each.sources), "about": each.about, "taken": one.taken}
            for each, one in measured
        ],
        "cells": [row for _, one in measured for row in as_json(one.rows)],
        "options": [each for _, one in measured for each in one.options],
        "footprints": [asdict(footprint) for footprint in footprints],
        "claims": [asdict(claim) for claim in judged],
    }


def _footprints(rows: Sequence[Row], ground: Ground) -> list[Footprint]:
    """Return what each engine takes that ran the model in float."""
    first: dict[str, Row] = {}
    for row in rows:
        if (row.subject, row.precision) == (MODEL, "float") and row.p50_ms is not None:
            first.setdefault(row.engine, row)
    bundles = {engine: bundle_folder(ground, row.cell, str(row.sha256)) for engine, row in first.items()}
    starts = QUICK_STARTS if ground.workshop.alone else STARTS
    return [footprint(engine, bundle, ground.devices.of(engine), starts) for engine, bundle in bundles.items()]


def _versions() -> dict[str, Any]:
    """Return the versions of the converters that are installed."""
    known = {name: found.versions for name in NAMES if (found := environment(name))}
    return {
        "converters": {
            name: {each: version for each, version in versions.items() if each in CONVERTERS}
            for name, versions in known.items()
        }
    }


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="no converters, no other environments; under five minutes")
    parser.add_argument("--state", type=Path, default=STATE, metavar="FOLDER")
    parser.add_argument("--environments", type=Path, default=given_environments(), metavar="FOLDER")
    parser.add_argument("--networks", type=Path, metavar="PYTHON")
    parser.add_argument("--only", action="append", metavar="MODEL", help="this model alone; may be given again")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
