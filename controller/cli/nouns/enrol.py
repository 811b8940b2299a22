"""`controller fleet enrol`: hand a claim token out, list those that there are, take one back."""

import time
from pathlib import Path

import click

from controller.cli.output import json_option, print_json, print_table, time_text
from controller.cli.session import opened, operator, reading, workspace

_COLUMNS = ("claim", "device", "uses", "left", "state", "expires", "enrolled")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command("enrol")
@click.argument("name", metavar="FLEET")
@click.option("--device", help="Bind the token to this device's name; it may then take the place of one so named.")
@click.option("--any", "uses", type=int, metavar="N", help="A token for N devices of any name.")
@click.option("--hours", type=float, default=24.0, show_default=True, help="How long the token holds [h].")
@click.option("--broker-host", help="Broker as the device reaches it, over the fleet file's.")
@click.option("--broker-port", type=int, help="Its port, over the fleet file's.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Fleet file, for the broker.")
@click.option("--list", "show", flag_value="all", help="List the fleet's tokens instead.")
@click.option("--pending", "show", flag_value="open", help="List the tokens that can still be used instead.")
@click.option("--revoke", metavar="CLAIM", help="Make a token worthless instead; what it enrolled stays enrolled.")
@json_option
def enrol(
    name: str,
    device: str | None,
    uses: int | None,
    hours: float,
    broker_host: str | None,
    broker_port: int | None,
    config: Path | None,
    show: str | None,
    revoke: str | None,
    as_json: bool,
) -> None:
    """Print a claim token: one line with which a device finds its fleet and claims its name.

    The token is a secret, and shown only once. On the device: `agent install --claim TOKEN`.
    """
    if revoke is not None:
        _revoke(revoke)
    elif show is not None:
        _list(name, show, as_json)
    else:
        if device is not None and uses is not None:
            raise click.UsageError("--device names one device, --any several: give one of them")
        broker = _address(name, config, broker_host, broker_port)
        _hand_out(name, broker, device, (1 if uses is None else uses, hours), as_json)


def _revoke(claim: str) -> None:
    from controller.enrolment import revoke

    with opened() as store, store.begin() as session:
        revoke(session, claim, operator(), now_s=time.time())
    click.echo(f"{claim} is worth nothing now; devices that it enrolled stay enrolled")


def _list(fleet: str, show: str, as_json: bool) -> None:
    from controller.enrolment import listed

    with reading() as session:
        rows = [row for row in listed(session, fleet, time.time()) if show in ("all", row["state"])]
    if as_json:
        print_json(rows)
        return
    cells = [
        [
            row["claim"], row["device"] or "any", row["uses"], row["uses_left"], row["state"],
            time_text(row["expires_s"]), ", ".join(row["enrolled"]) or None,
        ]
        for row in rows
    ]  # fmt: skip
    print_table(_COLUMNS, cells, title=f"claim tokens of fleet {fleet}")


def _address(fleet: str, config: Path | None, host: str | None, port: int | None) -> "tuple[str, int, str | None]":
    """Return host, port and certificate authority of the broker, as a device is to find it."""
    from controller.deploy.fleet_files import broker_settings, find_fleet_file
    from controller.errors import ConfigurationError

    found = find_fleet_file(fleet, config, workspace(), required=host is None)
    settings = broker_settings(found) if found is not None else None
    try:
        authority = Path(settings.ca_file).read_text(encoding="utf-8") if settings and settings.ca_file else None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"broker.ca_file of fleet {fleet} cannot be read: {exc}") from exc
    host = host or (settings.host if settings else "127.0.0.1")
    return host, port or (settings.port if settings else 1883), authority


def _hand_out(
    fleet: str, address: tuple[str, int, str | None], device: str | None, uses: tuple[int, float], as_json: bool
) -> None:
    from pydantic import ValidationError

    from controller.enrolment import Invitation, hand_out
    from controller.errors import ConfigurationError
    from controller.keys import load_key
    from wire.claim import TokenBroker, encode_token

    host, port, authority = address
    try:
        invitation = Invitation(fleet, TokenBroker(host=host, port=port, ca=authority), device, *uses)
        keys = load_key(workspace().keys).trusted_keys
        with opened() as store, store.begin() as session:
            token = hand_out(session, invitation, keys, operator(), now_s=time.time())
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        names = ".".join(map(str, fault["loc"]))
        raise ConfigurationError(f"no token can be made: {names}: {fault['msg']}") from exc
    line = encode_token(token)
    if as_json:
        known = {"claim": token.claim, "fleet": fleet, "device": device, "expires_s": token.expires_s}
        print_json({"token": line, **known})
        return
    click.echo(line)
    if host in _LOOPBACK:
        click.echo(f"note: only this machine reaches a broker at {host}; --broker-host names it for others", err=True)
    whom = device or f"{uses[0]} of any name"
    click.echo(f"{token.claim}, for {whom}, until {time_text(token.expires_s)}: agent install --claim TOKEN", err=True)
