"""The device's key and its claim: made once with a token, said by the control process until it is answered.

Decides: where both lie, that the token's secret is not kept, when the claim is said, and which answer is taken. Leaves
out: what a claim is (`wire/claim.py`) and whether the answer's signature holds (`agent/update/trust.py`).
The claim is made by `agent enrol` or `agent install`, in a process of its own: the control process never loads the
library that makes keys. That process is often root's, and the folder the service's: files are touched with the rights
of the folder's owner, or a link that was put there would have root write elsewhere.
"""

import contextlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.device.durable import WRITE_FAULTS, write_durably
from agent.errors import ConfigurationError, TrustError
from agent.install.layout import ROOT
from agent.install.system import acting_as, owner_of
from wire.base import Message, decode, encode
from wire.canonical import canonical_json
from wire.claim import Claim, Claimed, ClaimToken, claim_mac, decode_token
from wire.errors import WireError
from wire.topics import Topics

log = logging.getLogger(__name__)

CLAIM_NAME = "claim.json"
KEY_NAME = "device-key"


@dataclass(frozen=True)
class SavedClaim:
    """What lies in the state folder: the claim as it is said, and the answer once there was one."""

    claim: Claim
    answer: Claimed | None = None

    @property
    def state(self) -> str:
        """`waiting`, `accepted` or `refused`."""
        if self.answer is None:
            return "waiting"
        return "accepted" if self.answer.accepted else "refused"


class Publisher(Protocol):
    """What the claimer needs of the line to the broker."""

    def publish(self, topic: str, message: Message, retain: bool = False) -> bool:
        """Publish; False where the broker is away."""


def read_token(text: str) -> ClaimToken:
    """Return the token that a person typed or pasted.

    Raises:
        ConfigurationError: It is none; the text says what to do.
    """
    try:
        return decode_token(text)
    except WireError as exc:
        raise ConfigurationError(
            f"the claim token cannot be read ({exc}): copy the whole line that `controller fleet enrol` printed"
        ) from exc


def check_token(token: ClaimToken, fleet: str, device: str) -> None:
    """Refuse a token that is not for this device.

    Raises:
        ConfigurationError: It is for another fleet, or bound to another name.
    """
    if token.fleet != fleet:
        raise ConfigurationError(f"the token is for fleet {token.fleet!r}, the configuration says {fleet!r}")
    if token.device not in (None, device):
        raise ConfigurationError(
            f"the token is for the device {token.device!r}, this one is {device!r}: correct the name, "
            f"or ask for another token (`controller fleet enrol {token.fleet} --device {device}`)"
        )


def make_claim(state_dir: Path, token: ClaimToken, device: str, top: Path = ROOT) -> Claim:
    """Write the claim that this device will make, with its key, which is made if there is none.

    Args:
        state_dir: The agent's.
        token: What a person brought.
        device: This one's name.
        top: Root of the tree that the state folder lies in.
    Raises:
        ConfigurationError: The token is bound to another name, or the folder cannot be written.
        TrustError: The key in the state folder is none.
    """
    check_token(token, token.fleet, device)
    try:
        with acting_as(owner_of(state_dir, top)):
            state_dir.mkdir(parents=True, exist_ok=True)
        public_key = device_key(state_dir, top)
        claim = _proven(token, device, public_key)
        with acting_as(owner_of(state_dir, top)):
            _save(state_dir, SavedClaim(claim))
    except OSError as exc:
        raise ConfigurationError(
            f"the claim cannot be written into {state_dir} ({exc}): let the owner of that folder write into it"
        ) from exc
    return claim


def _proven(token: ClaimToken, device: str, public_key: str) -> Claim:
    unproven = Claim(fleet=token.fleet, device=device, claim=token.claim, public_key=public_key, mac="0" * 64)
    return unproven.model_copy(update={"mac": claim_mac(token.secret, unproven)})


def device_key(state_dir: Path, top: Path = ROOT) -> str:
    """Return the device's public key (base64); the key pair is made when there is none, for its owner only.

    Raises:
        TrustError: What lies there is no Ed25519 key.
    """
    import base64

    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = state_dir / KEY_NAME
    made = Ed25519PrivateKey.generate().private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    try:
        with acting_as(owner_of(state_dir, top)):
            content = _kept_key(path, made)
        private = form.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, OSError) as exc:
        raise TrustError(f"the device's key {path} cannot be used ({exc}): delete it and enrol again") from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise TrustError(f"the device's key {path} is not an Ed25519 key: delete it and enrol again")
    raw = private.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def _kept_key(path: Path, made: bytes) -> bytes:
    """Return the key that lies in `path`; where none does, keep `made` there."""
    with contextlib.suppress(FileExistsError):
        # O_EXCL with the mode at creation: at no moment is there a key that others can read.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def read_claim(state_dir: Path) -> SavedClaim | None:
    """Return the saved claim; None where there is none, or none that can be read."""
    try:
        document = json.loads((state_dir / CLAIM_NAME).read_bytes())
        claim = decode(Claim, canonical_json(document["claim"]))
        answer = decode(Claimed, canonical_json(document["answer"])) if document.get("answer") else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, WireError):
        return None
    return SavedClaim(claim, answer)


class Claimer:
    """Says the claim until it is answered. All methods belong to the consumer thread."""

    def __init__(self, state_dir: Path, publisher: Publisher) -> None:
        self._state_dir = state_dir
        self._publisher = publisher

    def advance(self) -> None:
        """Say the claim if there is one without an answer; to be called on each connection and now and then.

        The file is read each time: `agent enrol` may have written it while the agent runs.
        """
        saved = read_claim(self._state_dir)
        if saved is not None and saved.answer is None:
            claim = saved.claim
            self._publisher.publish(Topics(claim.fleet).claim(claim.device), claim)

    def answered(self, answer: Claimed) -> None:
        """Take the controller's answer, whose signature held; one to another claim or key is left alone."""
        saved = read_claim(self._state_dir)
        if saved is None or saved.state == "accepted" or not _answers(answer, saved.claim):
            return
        if answer.accepted:
            log.info("enrolled in %s as %s", answer.fleet, answer.device)
        else:
            log.error("the controller refuses the claim (%s): ask for another token and run agent enrol", answer.reason)
        try:
            _save(self._state_dir, SavedClaim(saved.claim, answer))
        except WRITE_FAULTS as exc:
            log.error("the answer to the claim is not saved, it will be asked again: %s", exc)


def _answers(answer: Claimed, claim: Claim) -> bool:
    return (answer.fleet, answer.device, answer.claim, answer.public_key) == (
        claim.fleet,
        claim.device,
        claim.claim,
        claim.public_key,
    )


def _save(state_dir: Path, saved: SavedClaim) -> None:
    document = {
        "claim": json.loads(encode(saved.claim)),
        "answer": json.loads(encode(saved.answer)) if saved.answer is not None else None,
    }
    write_durably(state_dir / CLAIM_NAME, canonical_json(document))
