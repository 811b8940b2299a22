"""`controller model convert MODEL --to TARGET`."""

from typing import TYPE_CHECKING, Any, get_args

import click

from controller.cli.output import bytes_text, json_option, print_json
from controller.cli.session import workspace
from controller.convert.conversion import Precision, Source, Target

if TYPE_CHECKING:
    from controller.convert.conversion import Kept
    from controller.convert.environments import Limits
    from controller.convert.making.make import ConvertRequest


@click.command()
@click.argument("reference", metavar="MODEL")
@click.option("--to", "target", type=click.Choice(get_args(Target)), required=True, help="What it becomes.")
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    help="How it is stored and computed; default: float, for tensorrt fp16. pal6 and pal4 are palettes of Core ML.",
)
@click.option(
    "--from",
    "source",
    type=click.Choice(get_args(Source)),
    help="Which source of the model; default: the best there is.",
)
@click.option(
    "--channel-last/--no-channel-last",
    default=None,
    help="Where the input of a TFLite file has its channels; default: last for pictures, as they are for series.",
)
@click.option("--memory-mib", type=click.IntRange(min=256), help="Memory that a converter may take [MiB].")
@click.option("--longest-s", type=click.IntRange(min=1), help="Time that a converter may take [s]; default: 1800.")
@click.option("--dry-run", is_flag=True, help="Say how it would be made.")
@json_option
def convert(
    reference: str,
    target: str,
    precision: str | None,
    source: str | None,
    channel_last: bool | None,
    memory_mib: int | None,
    longest_s: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a model's file for another engine, compare it with its source, and keep it in the model's folder.

    MODEL is NAME, NAME@VERSION or a model folder. A float conversion that keeps parity serves as the model's file of
    that format; one that fails is kept, flagged, and never deployed, and the exit code is 5.
    """
    from controller.convert.making.make import ConvertRequest
    from controller.errors import ConversionFlagged
    from controller.models.catalogue import find_model

    place = workspace()
    place.require()
    found = find_model(reference, place.models)
    chosen = precision or ("fp16" if target == "tensorrt" else "float")
    request = ConvertRequest(found, target, chosen, source, channel_last)
    if dry_run:
        _tell_route(request, as_json)
        return
    kept = _converted(request, _limits(memory_mib, longest_s), quiet=as_json)
    if as_json:
        print_json({"model": found.identity, **document(kept)})
    else:
        click.echo(_told(found.identity, kept))
    if kept.because is not None:
        raise ConversionFlagged(f"{kept.conversion.name} is kept, and never deployed: {kept.because}")


def document(kept: "Kept") -> dict[str, Any]:
    """Return a conversion as JSON types; `offered` says whether it may be deployed."""
    return {
        **kept.conversion.model_dump(mode="json", by_alias=True),
        "path": str(kept.path),
        "offered": kept.because is None,
    }


def _limits(memory_mib: int | None, longest_s: int | None) -> "Limits":
    from controller.convert.environments import Limits

    longest = Limits.longest_s if longest_s is None else float(longest_s)
    return Limits(longest_s=longest, memory_bytes=memory_mib * 2**20 if memory_mib else None)


def _converted(request: "ConvertRequest", limits: "Limits", *, quiet: bool) -> "Kept":
    from controller.cli.progress import make_progress
    from controller.compress.cache import PassCache
    from controller.convert.making.make import ConvertContext, convert

    place = workspace()
    if quiet:
        return convert(request, ConvertContext(PassCache(place.cache), place.datasets, limits))
    with make_progress() as progress:
        progress.stage("converting", 1)
        kept = convert(request, ConvertContext(PassCache(place.cache), place.datasets, limits, progress.say))
        progress.advance(kept.conversion.name)
    return kept


def _tell_route(request: "ConvertRequest", as_json: bool) -> None:
    """Say how a conversion would be made, and whether its converter is installed."""
    from controller.convert.environments import environment

    route = request.route
    missing = route.environment if route.environment and environment(route.environment) is None else None
    if as_json:
        print_json({"model": request.model.identity, "route": route.told, "missing_environment": missing})
        return
    click.echo(f"would convert {request.model.identity}: {route.told}")
    if missing:
        click.echo(f"first: controller model converters install {missing}")


def _told(identity: str, kept: "Kept") -> str:
    made = kept.conversion
    lines = [
        f"{identity}: {made.name} from {made.source}, {bytes_text(made.bytes)} in {made.took_s:.1f} s: {kept.path}"
    ]
    if made.parity is not None:
        ratio = "equal" if made.parity.sqnr_db is None else f"{made.parity.sqnr_db:.1f} dB"
        agree = made.parity.top1_agreement_ratio
        top1 = "" if agree is None else f", same top-1 in {agree:.1%}"
        lines.append(f"  against its source: {ratio}{top1}, over {made.parity.samples} queries")
    if made.weights is not None:
        ratio = "equal" if made.weights.lowest_sqnr_db is None else f"{made.weights.lowest_sqnr_db:.1f} dB at least"
        lines.append(f"  its {made.weights.compared} weights against the float program's: {ratio}")
    lines += [f"  not proven: {made.unproven}"] if made.unproven else []
    lines += [f"  runs on {made.min_os} or later"] if made.min_os else []
    return "\n".join([*lines, *(f"  note: {note}" for note in made.notes)])
