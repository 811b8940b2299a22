"""Where a recipe begins that says `converted`: with a conversion of the model's folder, made where there is none.

Decides: which conversion is meant, when it is made, and in which words one is out of reach. Leaves out: making one
(`controller/convert/making`).

    start_of(model, "executorch", "int8", Place(cache, datasets, print)).path
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from controller.bundle.atomic import disk_full, means_no_room
from controller.compress.cache import PassCache
from controller.compress.process.start import PassFailed
from controller.compress.recipe import Recipe
from controller.convert.conversion import Conversion, Kept, conversion_name
from controller.convert.environments import required
from controller.convert.making.routes import find_route
from controller.convert.operators import file_precision
from controller.errors import ControllerError, ConverterMissing, DiskFull, UnusableModel
from controller.models.folder import FormatEntry, ModelFolder

PASS = "converted"
PRECISIONS = {"float": "float32", "fp16": "float16", "int8": "int8"}
"""A conversion's precision -> a variant's."""


@dataclass(frozen=True)
class Start:
    """A file to begin with, and which of its tensors are meant. `precision` and `notes` as in a variant."""

    form: str
    path: Path
    entry: FormatEntry
    precision: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where conversions are made. `datasets`: of loaded samples; null: none is made here, kept ones are taken."""

    cache: PassCache
    datasets: Path | None
    progress: Callable[[str], None]


def conversions_of(recipes: Iterable[Recipe]) -> tuple[tuple[str, str], ...]:
    """Return the conversions that recipes begin with, as format and precision, each once."""
    return tuple(dict.fromkeys((form, one.conversion) for one in recipes for form in one.formats if one.conversion))


def out_of_reach(model: ModelFolder, form: str, precision: str) -> str | None:
    """Return why there is no such conversion and none can be made now; null where there is one, or it can be made."""
    if _own(model, form, precision) or _kept(model, form, precision):
        return None
    try:
        route = find_route(model.sources(), form, precision)
        if route.environment is not None:
            required(route.environment)
    except (UnusableModel, ConverterMissing) as exc:
        return str(exc)
    if route.calibrates and model.spec.data is None:
        return f"int8 calibrates, and {model.identity} names no samples: add `data` to its model.yaml"
    return None


def start_of(model: ModelFolder, form: str, precision: str, place: Place) -> Start:
    """Return the file of a conversion.

    `float` is what the folder offers as the model's file of that format: that of model.yaml before a conversion.

    Raises:
        PassFailed: There is none and it cannot be made, or it is flagged; the text says why, and what is missing.
        DiskFull: No room for it.
    """
    if _own(model, form, precision):
        return _own_start(model, form)
    kept = _kept(model, form, precision) or _made(model, form, precision, place)
    entry = FormatEntry(file=kept.path.relative_to(model.root).as_posix(), **kept.conversion.ends.model_dump())
    return Start(form, kept.path, entry, PRECISIONS[precision], _notes(kept.conversion))


def _own(model: ModelFolder, form: str, precision: str) -> bool:
    return precision == "float" and any(known == form for known in model.spec.formats)


def _own_start(model: ModelFolder, form: str) -> Start:
    path = model.file(form)
    if (found := file_precision(form, path)) != "float32":
        raise PassFailed(PASS, f"{path.name} of model.yaml is {found}, and no float file to begin with")
    return Start(form, path, model.entry(form), found)


def _kept(model: ModelFolder, form: str, precision: str) -> Kept | None:
    """Return the conversion that the folder keeps, if it may be deployed."""
    name = conversion_name(form, precision)
    return next((each for each in model.conversions() if each.conversion.name == name and each.because is None), None)


def _made(model: ModelFolder, form: str, precision: str, place: Place) -> Kept:
    from controller.convert.making.make import ConvertContext, ConvertRequest, convert

    if place.datasets is None:
        raise PassFailed(PASS, f"no {conversion_name(form, precision)} conversion is kept, and none is made here")
    context = ConvertContext(place.cache, place.datasets, progress=place.progress)
    try:
        kept = convert(ConvertRequest(model, form, precision), context)
    except DiskFull:
        raise
    except ControllerError as exc:
        raise PassFailed(PASS, str(exc)) from exc
    except OSError as exc:
        if means_no_room(exc):
            raise disk_full(model.root) from exc
        raise PassFailed(PASS, f"the conversion cannot be kept in the model's folder: {exc}") from exc
    if kept.because is not None:
        raise PassFailed(PASS, f"never deployed: {kept.because}")
    return kept


def _notes(made: Conversion) -> tuple[str, ...]:
    parity = made.parity
    near = "" if parity is None or parity.sqnr_db is None else f", {parity.sqnr_db:.1f} dB from it"
    return (f"converted from {made.source}{near}", *made.notes)
