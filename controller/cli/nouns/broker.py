"""`controller broker run|config`: the embedded broker in the foreground, and configuration to start from."""

import signal

import click

from controller.cli.session import workspace


@click.group()
def broker() -> None:
    """Run the embedded broker, or print broker configuration."""


@broker.command()
@click.option("--port", type=click.IntRange(0, 65535), default=1883, show_default=True, help="TCP port; 0: a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
def run(port: int, host: str) -> None:
    """Run the embedded broker on loopback until Ctrl-C.

    It keeps everything in memory and knows no topic permissions, so it refuses every other address: for a network use
    Mosquitto (`controller broker config mosquitto`).
    """
    from controller.broker.embedded import EmbeddedBroker

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with EmbeddedBroker(port, workspace().root / "broker", host=host) as running:
        click.echo(f"MQTT 5 broker on {running.host}:{running.port}, log in {running.folder}; Ctrl-C ends it")
        try:
            code = running.wait()
        except KeyboardInterrupt:
            click.echo("stopped")
            return
    raise click.exceptions.Exit(1 if code else 0)


@broker.command()
@click.argument("kind", type=click.Choice(["embedded", "mosquitto"]))
@click.option("--port", type=click.IntRange(1, 65535), default=1883, show_default=True, help="TCP port (embedded).")
def config(kind: str, port: int) -> None:
    """Print the configuration of the embedded broker, or a first one for Mosquitto."""
    from controller.broker.settings import MOSQUITTO_CONF, EmbeddedSettings, embedded_toml

    click.echo(embedded_toml(EmbeddedSettings(port)) if kind == "embedded" else MOSQUITTO_CONF, nl=False)
