"""Records of trials: parts are gathered, put together, verified, decoded and stored.

Decides: which record is believed, and the bounds on its size. Leaves out: what it says (`controller/trial/summary`).
The digest of a part's record is that of the compressed bytes, before they are cut.
"""

import base64
import binascii
import logging
import zlib

from sqlalchemy.orm import Session

from controller.fleet.views import LARGEST_RECORD_BYTES
from controller.store import tables, trials
from wire.base import LARGEST_PART_BYTES, decode
from wire.canonical import sha256_hex
from wire.errors import MalformedMessage
from wire.topics import Address
from wire.trial import TrialPart, TrialRecord

log = logging.getLogger(__name__)


def collect(session: Session, address: Address, part: TrialPart, *, now_s: float) -> bool:
    """Take a part in; return whether the trial is to be acknowledged: its record is stored, now or before.

    A trial that this database does not know is acknowledged unstored: the device would send it for ever.

    Raises:
        WireError: Not a part, or the record that it completes is not what was asked for.
    """
    device = str(address.device)
    row = trials.get(session, part.trial)
    if row is None:
        log.warning("%s sent a record of trial %s, which nobody here asked for: dropped", device, part.trial)
        return True
    if (row.fleet, row.device) != (address.fleet, device):
        raise MalformedMessage(f"trial {part.trial} was asked of {row.device}, not of {device}")
    if row.stage == trials.RECEIVED:
        return True
    whole = _whole(session, address, part, now_s)
    if whole is None:
        return False
    trials.drop_parts(session, address.fleet, device, part.trial)
    record = _read(whole, part)
    _belongs(record, row)
    trials.receive(session, row, whole, record.outcome, now_s=now_s)
    return True


def _whole(session: Session, address: Address, part: TrialPart, now_s: float) -> bytes | None:
    try:
        content = base64.b64decode(part.data, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedMessage(f"part {part.part} of trial {part.trial} is not base64: {exc}") from exc
    if part.part >= part.parts or len(content) > LARGEST_PART_BYTES:
        raise MalformedMessage(f"part {part.part} of {part.parts} of trial {part.trial}: no such part")
    kept = trials.add_part(
        session,
        tables.TrialPart(
            fleet=address.fleet,
            device=str(address.device),
            trial=part.trial,
            sha256=part.sha256,
            part=part.part,
            parts=part.parts,
            content=content,
            received_s=now_s,
        ),
    )
    return None if kept is None else b"".join(kept)


def _read(whole: bytes, part: TrialPart) -> TrialRecord:
    if sha256_hex(whole) != part.sha256:
        raise MalformedMessage(f"record of trial {part.trial} does not have the digest that its parts announce")
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(whole, LARGEST_RECORD_BYTES)
    except zlib.error as exc:
        raise MalformedMessage(f"record of trial {part.trial} cannot be unpacked: {exc}") from exc
    if not stream.eof:
        raise MalformedMessage(f"record of trial {part.trial} is cut short, or above {LARGEST_RECORD_BYTES} bytes")
    return decode(TrialRecord, content, LARGEST_RECORD_BYTES)


def _belongs(record: TrialRecord, row: tables.Trial) -> None:
    said = (record.fleet, record.device, record.trial, record.bundle)
    if said != (row.fleet, row.device, row.trial, row.bundle):
        raise MalformedMessage(f"record of trial {row.trial} speaks of {said}: not what was asked of {row.device}")
