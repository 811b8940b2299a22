"""The file behind a cell, made by the product's own converters and kept by content.

Decides: what a made file depends on, so that a stopped run goes on where it was; and what a refusal says. Leaves out:
running the file (`running.py`).
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmarks.common import repository
from benchmarks.engine_parts.cells import Cell, Outcome
from controller.compress.cache import PassCache, cache_key
from controller.convert.conversion import file_digest, files_digest
from controller.convert.environments import environment
from controller.convert.making.make import ConvertContext, ConvertRequest, convert
from controller.convert.making.routes import Route, find_route
from controller.convert.operators import file_precision
from controller.errors import ControllerError, UnusableModel
from controller.models.folder import FILE_NAME, FormatEntry, ModelFolder
from wire.spec import Pipeline

WORKERS = "controller/convert/workers"
STEPS = ("controller/convert/making/steps", "controller/compress/passes")
LONGEST_REASON_CHARACTERS = 600
_PATH = re.compile(r"(?<![\w./:])/(?:[\w.+@~-]+/)+")
_NO_WAY = re.compile(r"^no way to \w+ \w+: from \w+: ")
_PIPELINE: TypeAdapter[Pipeline] = TypeAdapter(Pipeline)


@dataclass(frozen=True)
class File:
    """A file and what is known of it. pipeline: null for Core ML. conversion: its record; null for a source's own."""

    path: Path
    form: str
    pipeline: Pipeline | None
    conversion: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        return file_digest(self.path)


@dataclass(frozen=True)
class NotMade:
    """Why there is no file."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Workshop:
    """Where files are made. alone: without converter environments. told: is given each step, for people."""

    cache: PassCache
    datasets: Path
    alone: bool
    told: Callable[[str], None]


def made(cell: Cell, model: ModelFolder, workshop: Workshop) -> File | NotMade:
    """Return the file of a cell, whatever engine will run it, or why there is none."""
    route = way(cell)
    if isinstance(route, str):
        return NotMade("refused", route)
    if route is None:
        return _own(cell, model)
    if route.environment is not None and workshop.alone:
        return NotMade("not run", f"--quick makes nothing in a converter environment (here {route.environment})")
    if route.environment is not None and environment(route.environment) is None:
        install = f"controller model converters install {route.environment}"
        return NotMade("not run", f"the converter environment {route.environment} is not installed: run  {install}")
    entry = workshop.cache.get_or_make(_key(route, model), lambda folder: _converted(route, model, folder, workshop))
    facts = entry.facts
    if "refused" in facts:
        return NotMade("refused", facts["refused"])
    if facts["conversion"]["flagged"]:
        return NotMade("refused", f"made and never deployed: {facts['conversion']['flagged']}")
    pipeline = _PIPELINE.validate_python(facts["pipeline"]) if facts["pipeline"] else None
    notes = tuple(plain(note) for note in facts["conversion"]["notes"])
    return File(entry.folder / facts["file"], facts["conversion"]["format"], pipeline, facts["conversion"], notes)


def way(cell: Cell) -> Route | str | None:
    """Return the route of a cell, the reason why there is none, or null for a source's own file."""
    if cell.is_own_file:
        return None
    try:
        return find_route([cell.source], cell.target, cell.precision, cell.source)
    except UnusableModel as exc:
        return _NO_WAY.sub("", plain(str(exc)))


def plain(text: str) -> str:
    """Return a message on one line, without the folders of this machine."""
    line = re.sub(r"\s*\n\s*", "; ", text.strip())
    line = _PATH.sub("", line)
    return line if len(line) <= LONGEST_REASON_CHARACTERS else line[:LONGEST_REASON_CHARACTERS] + " …"


def _own(cell: Cell, model: ModelFolder) -> File:
    path = model.file(cell.source)
    precision = file_precision(cell.source, path)
    notes = () if precision == "float32" else (f"the file as it is: its weights are {precision}",)
    return File(path, cell.source, model.pipeline(cell.source), None, notes)


def _converted(route: Route, model: ModelFolder, folder: Path, workshop: Workshop) -> dict[str, Any]:
    """Convert, and copy what the model's folder then keeps; what refuses the model is kept as well."""
    workshop.told(f"{model.name}: {route.told}")
    request = ConvertRequest(model, route.target, route.precision, route.source)
    try:
        kept = convert(request, ConvertContext(workshop.cache, workshop.datasets))
    except ControllerError as exc:
        return {"refused": plain(str(exc))}
    shutil.copyfile(kept.path, folder / kept.path.name)
    conversion = kept.conversion
    pipeline = None
    if conversion.target != "coreml" and conversion.flagged is None:
        entry = FormatEntry(file="-", **conversion.ends.model_dump())
        pipeline = model.pipeline_of(conversion.format, entry, kept.path).model_dump(mode="json")
    return {"file": kept.path.name, "conversion": conversion.model_dump(mode="json"), "pipeline": pipeline}


def _key(route: Route, model: ModelFolder) -> str:
    found = environment(route.environment) if route.environment else None
    sources = (*model.sources()[route.source], model.root / FILE_NAME)
    return cache_key(
        {
            "what": "benchmark of engines",
            "route": route.told,
            "source": files_digest(sources),
            "environment": found.versions if found else None,
            "made by": _code_digest(route),
        }
    )


def _code_digest(route: Route) -> str:
    """Return a digest of what makes the file: the worker with what its package shares, and the step after it."""
    paths: list[Path] = []
    if route.worker is not None:
        package, _, module = route.worker.rpartition(".")
        shared = (repository() / WORKERS / package).glob("*.py")
        paths += [path for path in shared if path.stem == module or not path.stem.startswith(("to_", "run_"))]
    if route.then is not None:
        paths += [path for folder in STEPS if (path := repository() / folder / f"{route.then}.py").is_file()]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
