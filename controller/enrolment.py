"""Enrolment: tokens that an operator hands out, and the claims that devices make with them.

Decides: what a token is good for, which claims are accepted, and what is written of it. Leaves out: the form of both
(`wire/claim.py`) and signing the answer (`controller/distribute/documents.py`).

Only what a holder of the secret can cause is written to the audit: anybody at the broker can send claims, and must not
fill the disk by it.
"""

import base64
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.errors import ConfigurationError, NotFound
from controller.store import audit, devices
from controller.store.tables import Claim as ClaimRow
from controller.store.tables import Device
from wire.claim import SECRET_BYTES, Claim, Claimed, ClaimToken, TokenBroker, claim_mac

MOST_USES = 10_000
LONGEST_HOURS = 24 * 365


@dataclass(frozen=True)
class Invitation:
    """What an operator asks for: a token for one device by name, or for `uses` devices of any name."""

    fleet: str
    broker: TokenBroker
    device: str | None = None
    uses: int = 1
    hours: float = 24.0

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            ConfigurationError: Too many or too few devices or hours.
        """
        if not 1 <= self.uses <= MOST_USES:
            raise ConfigurationError(f"a token for {self.uses} devices: 1 to {MOST_USES} can be asked for")
        if not 0 < self.hours <= LONGEST_HOURS:
            raise ConfigurationError(f"a token for {self.hours} hours: up to {LONGEST_HOURS} can be asked for")


def hand_out(
    session: Session, invitation: Invitation, keys: Mapping[str, str], actor: str, *, now_s: float
) -> ClaimToken:
    """Make a token, write what it is good for, and return it: it is shown once and cannot be shown again.

    Args:
        session: Of a writing transaction.
        invitation: For whom.
        keys: Public keys that the device will obey, by id.
        actor: Who asked, for the audit.
        now_s: Time [s since the epoch].
    Raises:
        ConfigurationError: The invitation makes no sense.
    """
    invitation.check()
    token = ClaimToken(
        fleet=invitation.fleet,
        broker=invitation.broker,
        keys=dict(keys),
        claim=f"c-{secrets.token_hex(6)}",
        secret=base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode(),
        expires_s=float(round(now_s + invitation.hours * 3600)),
        device=invitation.device,
    )
    row = ClaimRow(
        id=token.claim,
        fleet=token.fleet,
        device=token.device,
        secret=token.secret,
        uses=invitation.uses,
        uses_left=invitation.uses,
        created_s=now_s,
        expires_s=token.expires_s,
    )
    session.add(row)
    detail = {"fleet": row.fleet, "device": row.device, "uses": row.uses, "expires_s": row.expires_s}
    audit.append(session, actor, "claim.handed_out", row.id, detail, now_s=now_s)
    return token


def take_claim(session: Session, claim: Claim, *, now_s: float) -> Claimed:
    """Judge a claim, write what follows from it, and return the answer.

    A claim that was accepted is accepted again, for nothing: the answer may have been lost.
    """
    row = session.get(ClaimRow, claim.claim)
    device = devices.get(session, claim.fleet, claim.device)
    if row is None or not _is_proven(row, claim):
        return _answer(claim, now_s, reason="claim_unknown" if row is None else "claim_forged")
    if device is not None and (device.claim, device.public_key) == (claim.claim, claim.public_key):
        return _answer(claim, now_s)
    reason = _refusal_reason(row, claim, device, now_s)
    detail = {"device": claim.device, "fleet": claim.fleet, "public_key": claim.public_key}
    if reason is not None:
        audit.append(session, f"device:{claim.device}", "claim.refused", row.id, {**detail, "why": reason}, now_s=now_s)
        return _answer(claim, now_s, reason=reason)
    former = device.public_key if device is not None else None
    _enrol(session, row, claim, now_s)
    audit.append(
        session, f"device:{claim.device}", "claim.accepted", row.id, {**detail, "former_key": former}, now_s=now_s
    )
    return _answer(claim, now_s)


def revoke(session: Session, claim: str, actor: str, *, now_s: float) -> None:
    """Make a token worthless. Devices that have used it stay enrolled.

    Raises:
        NotFound: No such token.
    """
    row = session.get(ClaimRow, claim)
    if row is None:
        raise NotFound(f"no claim {claim!r}: `controller fleet enrol FLEET --list` shows those that there are")
    if row.revoked_s is None:
        row.revoked_s = now_s
        audit.append(session, actor, "claim.revoked", row.id, {"uses_left": row.uses_left}, now_s=now_s)


def listed(session: Session, fleet: str, now_s: float) -> list[dict[str, Any]]:
    """Return a fleet's tokens, newest first, without their secrets; `state`: open, spent, expired or revoked."""
    rows = session.scalars(
        select(ClaimRow).where(ClaimRow.fleet == fleet).order_by(ClaimRow.created_s.desc(), ClaimRow.id)
    )
    return [_listed(row, _enrolled_by(session, row), now_s) for row in rows]


def _listed(row: ClaimRow, enrolled: Sequence[str], now_s: float) -> dict[str, Any]:
    return {
        "claim": row.id,
        "fleet": row.fleet,
        "device": row.device,
        "uses": row.uses,
        "uses_left": row.uses_left,
        "created_s": row.created_s,
        "expires_s": row.expires_s,
        "state": _state(row, now_s),
        "enrolled": list(enrolled),
    }


def _enrolled_by(session: Session, row: ClaimRow) -> Sequence[str]:
    of_claim = (Device.fleet == row.fleet, Device.claim == row.id)
    return session.scalars(select(Device.device).where(*of_claim).order_by(Device.device)).all()


def _state(row: ClaimRow, now_s: float) -> str:
    if row.revoked_s is not None:
        return "revoked"
    if row.uses_left <= 0:
        return "spent"
    return "expired" if now_s > row.expires_s else "open"


def _is_proven(row: ClaimRow, claim: Claim) -> bool:
    return hmac.compare_digest(claim_mac(row.secret, claim), claim.mac)


def _refusal_reason(row: ClaimRow, claim: Claim, device: Device | None, now_s: float) -> str | None:
    """Return why a claim whose proof holds is not accepted; null where it is."""
    if row.fleet != claim.fleet or row.device not in (None, claim.device):
        return "claim_other_device"
    if row.revoked_s is not None:
        return "claim_revoked"
    if row.uses_left <= 0:
        return "claim_spent"
    if now_s > row.expires_s:
        return "claim_expired"
    known = device.public_key if device is not None else None
    # A new card in a known device: an operator says so with a token of its name, nobody else takes it over.
    if known not in (None, claim.public_key) and row.device is None:
        return "claim_name_taken"
    return None


def _enrol(session: Session, row: ClaimRow, claim: Claim, now_s: float) -> None:
    row.uses_left -= 1
    device = devices.touch(session, claim.fleet, claim.device, now_s=now_s)
    device.enrolled_s, device.public_key, device.claim = now_s, claim.public_key, claim.claim
    session.flush()


def _answer(claim: Claim, now_s: float, reason: str | None = None) -> Claimed:
    return Claimed(
        fleet=claim.fleet,
        device=claim.device,
        claim=claim.claim,
        public_key=claim.public_key,
        accepted=reason is None,
        reason=reason,
        issued_s=now_s,
    )
