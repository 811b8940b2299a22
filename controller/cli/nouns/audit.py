"""`controller audit verify`: whether the chain of decisions is whole."""

import click

from controller.cli.output import json_option, print_json
from controller.cli.session import reading


@click.group()
def audit() -> None:
    """Verify the chain of decisions."""


@audit.command()
@json_option
def verify(as_json: bool) -> None:
    """Recompute the hash chain over every decision and operator's action; exit 11 where it is broken.

    A chain whose end was cut off still verifies: compare the head with one that you kept elsewhere.
    """
    from controller.errors import TrustError
    from controller.store import audit as chain

    with reading() as session:
        verdict = chain.verify(session)
    if as_json:
        print_json({"holds": verdict.holds, "rows": verdict.rows, "head": verdict.head, "broken_at": verdict.broken_at})
    elif verdict.holds:
        click.echo(f"{verdict.rows} rows, unbroken; head {verdict.head}")
    if not verdict.holds:
        raise TrustError(f"the audit chain is broken at row {verdict.broken_at}: {verdict.because}")
