"""The `simulator` command: a fleet of virtual devices that speak the real protocol.

Decides: options, and that an error becomes one line and its exit code. Leaves out: the devices.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

INTERRUPTED = 130
_RATIO = click.FloatRange(0.0, 1.0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="thresher", prog_name="simulator")
def entry() -> None:
    """Simulate a fleet: real messages and the real device machine, virtual work."""


@entry.command()
@click.option("--devices", type=click.IntRange(1, 100_000), required=True, help="How many.")
@click.option("--fleet", default="simulated", show_default=True, help="Fleet that they belong to.")
@click.option(
    "--classes", type=click.Path(dir_okay=False, path_type=Path), help="File of the classes; else three are known."
)
@click.option(
    "--trust",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Public keys to obey: trusted-keys.yaml of a controller's workspace.",
)
@click.option(
    "--broker", default="mqtt://127.0.0.1:1883", show_default=True, help="URL: mqtt:// or mqtts://, with user."
)
@click.option("--ca-file", type=click.Path(dir_okay=False, path_type=Path), help="Certificate authority, for mqtts://.")
@click.option("--rate", type=click.FloatRange(0.001), help="Metrics messages a second, of all devices together.")
@click.option("--seed", default=1, show_default=True, help="Of all that is drawn.")
@click.option("--speed", type=click.FloatRange(0.01, 10_000), default=1.0, show_default=True, help="Of virtual work.")
@click.option("--for", "seconds", type=click.FloatRange(0.0), help="End after so many seconds; else on Ctrl-C.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes to share them.")
@click.option("--connects", type=click.FloatRange(0.1), default=200.0, show_default=True, help="New ones a second.")
@click.option("--keepalive", type=click.IntRange(5, 3600), default=60, show_default=True, help="Of each session [s].")
@click.option("--prefix", default="sim-", show_default=True, help="What their names begin with.")
@click.option("--slow", type=_RATIO, default=0.0, help="Share that is four times slower.")
@click.option("--failing", type=_RATIO, default=0.0, help="Share that fails at most bundles: self-test, crash, errors.")
@click.option("--vanishing", type=_RATIO, default=0.0, help="Share that is gone for good within two minutes.")
@click.option("--flapping", type=_RATIO, default=0.0, help="Share that loses connection or power again and again.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def run(
    classes: Path | None, trust: Path, seconds: float | None, processes: int, as_json: bool, **options: Any
) -> None:
    """Connect virtual devices to a broker, and let them obey a controller.

    Downloads take real chunks over the broker; self-tests, switches and trials only take time, and latencies are drawn
    from a model of the class. Nothing is kept on a disk. Inventories say `simulated`.
    """
    from simulator.classes import load_classes
    from simulator.options import settings_of
    from simulator.site.fleet import quiet_logs
    from simulator.site.processes import run_fleet
    from simulator.summary import Progress, summary, summary_lines

    quiet_logs()
    settings, found = settings_of(options, trust), load_classes(classes)
    progress = Progress(settings.devices)
    counts = run_fleet(settings, found, processes, seconds, progress.tell)
    document = summary(settings, processes, progress, counts)
    click.echo(json.dumps(document, indent=2) if as_json else "\n".join(summary_lines(document)))
    progress.require_broker()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run a command, exit with the code of what went wrong."""
    try:
        code = entry.main(args=arguments, prog_name="simulator", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except Exception as exc:
        # The outermost frame: errors of all three packages carry a reason and an exit code, others are defects.
        known: Any = exc
        if not (hasattr(known, "reason") and hasattr(known, "exit_code")):
            raise
        click.echo(f"error ({known.reason}): {exc}", err=True)
        sys.exit(known.exit_code)
