"""`controller model import|list|show|compress`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from controller.cli.lazy import Entry, LazyGroup
from controller.cli.output import bytes_text, json_option, print_json, print_table
from controller.cli.session import workspace

if TYPE_CHECKING:
    from controller.convert.conversion import Kept
    from controller.models.folder import ModelFolder
    from controller.models.importing import ImportRequest


MEMBERS = {
    "advise": Entry("controller.cli.nouns.advise.command:advise", "Say which methods of compression fit a model."),
    "compress": Entry(
        "controller.cli.nouns.compress.command:compress", "Make variants of a model, or search for the best."
    ),
    "convert": Entry("controller.cli.nouns.convert.command:convert", "Convert a model for another engine."),
    "converters": Entry(
        "controller.cli.nouns.converters:converters", "Install, list and remove environments of converters."
    ),
    "probe": Entry("controller.cli.nouns.probe.command:probe", "Say what variants answer on emulated processors."),
}


NESTED = ("conversions", "facts")


@click.group(cls=LazyGroup, entries=MEMBERS)
def model() -> None:
    """Import, list, show and compress models."""


@model.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the model; default: the file's. Not for a folder with a model.yaml.")
@click.option("--data", "samples", type=click.Path(dir_okay=False, path_type=Path), help=".npz with inputs and labels.")
@click.option(
    "--kind", type=click.Choice(["classification", "regression"]), help="What it does; default: from the labels."
)
@click.option("--labels", help="Names of the classes (or outputs), with commas between them.")
@click.option(
    "--activation",
    type=click.Choice(["softmax", "sigmoid", "none"]),
    help="Classes: what makes probabilities of its scores; default: softmax, none where the file ends in one.",
)
@click.option("--shape", "shapes", multiple=True, metavar="[NAME=]SIZES", help="ONNX: sizes of an input's free axes.")
@click.option("--set", "constants", multiple=True, metavar="NAME=VALUE", help="ONNX: an input that is always the same.")
@click.option("--output", metavar="NAME", help="ONNX, TFLite: the output with the answer; default: the first.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="PyTorch: .safetensors or .pt weights.")
@click.option("--input", "inputs", multiple=True, metavar="SIZES", help="PyTorch, Keras: the input's shape; 1,1,28,28.")
@click.option("--dry-run", is_flag=True, help="Check everything and import nothing.")
@json_option
def import_(
    source: Path,
    name: str | None,
    samples: Path | None,
    kind: Literal["classification", "regression"] | None,
    labels: str | None,
    activation: Literal["softmax", "sigmoid", "none"] | None,
    shapes: tuple[str, ...],
    constants: tuple[str, ...],
    output: str | None,
    state: Path | None,
    inputs: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring a model into the workspace.

    SOURCE is an .onnx or .tflite file, a PyTorch module as FILE.py:FUNCTION, an exported program (.pt2), a Keras model
    (.keras, .h5), the folder of a SavedModel, or a folder with a model.yaml, which says all the options itself.
    """
    from controller.models.importing import ImportRequest
    from controller.models.sources.base import GivenShape, read_constants

    place = workspace()
    place.require()
    source = source if source.name else source.resolve()  # `.`
    _check_there(source, samples)
    request = ImportRequest(
        source,
        name=name,
        samples=samples,
        kind=kind,
        labels=tuple(each.strip() for each in labels.split(",")) if labels else (),
        activation=activation,
        shapes=tuple(GivenShape.parse(text, "--shape") for text in shapes),
        constants=read_constants(constants),
        output=output,
        state=state,
        inputs=tuple(GivenShape.parse(text, "--input") for text in inputs),
        progress=lambda text: click.echo(f"{text} ...", err=True),
    )
    _import(request, None if dry_run else place.models, as_json)


def _check_there(source: Path, samples: Path | None) -> None:
    """Refuse paths that lead nowhere; of `FILE.py:FUNCTION`, the file is looked for.

    Raises:
        NotFound: The first of them.
    """
    from controller.errors import NotFound

    file, mark, _ = str(source).rpartition(".py:")
    for path in (Path(f"{file}.py") if mark else source, samples):
        if path is not None and not path.exists():
            named = "; a PyTorch module is named by its file: FILE.py:FUNCTION" if ":" in path.name else ""
            raise NotFound(f"{path}: no such file or folder{named}")


def _import(request: "ImportRequest", models: Path | None, as_json: bool) -> None:
    """Import into the workspace, or (null) into a folder that goes again; tell what was found either way."""
    import tempfile

    from controller.models.importing import import_model

    with tempfile.TemporaryDirectory() as scratch:
        document = _document(import_model(request, models or Path(scratch)))
        if as_json:
            print_json({**document, "imported": models is not None})
            return
        told = f"{document['model']} in {document['folder']}" if models else f"would import {document['model']}"
        click.echo("\n".join([told, *_told(document["facts"])]))


def _told(facts: dict[str, Any]) -> list[str]:
    """Return what an import found: samples, engines, and what the user should know."""
    from controller.models.card import said_of

    samples = facts.get("samples")
    lines = [f"  {engine}: {said_of(found)}" for engine, found in facts["engines"].items() if found["runs"] is not None]
    lines += (
        [f"  samples: {samples['evaluation']} to evaluate, {samples['calibration']} to calibrate"] if samples else []
    )
    if not samples:
        lines.append("  no samples: it is neither quantised by calibration, judged, nor deployed (--data)")
    return [*lines, *(f"  note: {note}" for note in facts.get("origin", {}).get("notes", ()))]


@model.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the models of the workspace."""
    from controller.models.catalogue import list_models

    place = workspace()
    place.require()
    rows = [_document(each) for each in list_models(place.models)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("model", "kind", "formats", "licence"),
        [[row["model"], row["kind"], ", ".join(row["formats"]), row["licence"]] for row in rows],
    )


@model.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@json_option
def show(reference: str, as_json: bool) -> None:
    """Show a model's files, signature, and what was found in it."""
    from controller.models.card import said_of
    from controller.models.catalogue import find_model

    place = workspace()
    place.require()
    document = _document(find_model(reference, place.models))
    if as_json:
        print_json(document)
        return
    rows: list[list[object]] = [[key, str(value)] for key, value in document.items() if key not in NESTED]
    for form, found in document["facts"].get("formats", {}).items():
        rows += [[f"{form} {key}", str(value)] for key, value in found.items()]
    rows += [[engine, said_of(found)] for engine, found in document["facts"].get("engines", {}).items()]
    rows += [[f"conversion {each['name']}", _said_of_conversion(each)] for each in document["conversions"]]
    rows += [["samples", str(document["facts"].get("samples"))]]
    print_table(("field", "value"), rows)


def _document(found: "ModelFolder") -> dict[str, Any]:
    import json

    from controller.models.importing import FACTS

    facts = found.root / FACTS
    return {
        "model": found.identity,
        "kind": found.kind,
        "licence": found.spec.licence,
        "formats": sorted(found.formats),
        "labels": list(found.labels),
        "folder": str(found.root),
        "conversions": [_conversion(kept) for kept in found.conversions()],
        "facts": json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {},
    }


def _conversion(kept: "Kept") -> dict[str, Any]:
    made = kept.conversion
    return {"name": made.name, "source": made.source, "bytes": made.bytes, "because": kept.because}


def _said_of_conversion(each: dict[str, Any]) -> str:
    made = f"{bytes_text(each['bytes'])} from {each['source']}"
    return f"{made}; never deployed: {each['because']}" if each["because"] else made
