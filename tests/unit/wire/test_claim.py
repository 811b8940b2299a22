"""Tokens survive being copied, and a claim's proof covers all of it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.claim import Claim, ClaimToken, TokenBroker, claim_mac, decode_token, encode_token
from wire.errors import MalformedMessage, OversizedMessage, WireError

KEY = base64.b64encode(bytes(range(32))).decode()
SECRET = base64.b64encode(b"s" * 32).decode()


def token(**changes: object) -> ClaimToken:
    fields: dict[str, object] = {
        "fleet": "farm",
        "broker": TokenBroker(host="broker.local", port=8883, ca="-----BEGIN CERTIFICATE-----\nä\n"),
        "keys": {"k1": KEY},
        "claim": "c-1",
        "secret": SECRET,
        "expires_s": 100.0,
    }
    return ClaimToken.model_validate(fields | changes)


def claim(**changes: object) -> Claim:
    fields = {"fleet": "farm", "device": "pi-1", "claim": "c-1", "public_key": KEY, "mac": "0" * 64}
    return Claim.model_validate(fields | changes)


def test_a_token_comes_back_as_it_was() -> None:
    assert decode_token(encode_token(token(device="pi-1"))) == token(device="pi-1")


@given(width=st.integers(1, 80))
def test_a_line_that_a_terminal_wrapped_is_the_same_token(width: int) -> None:
    line = encode_token(token())
    wrapped = "\n ".join(line[start : start + width] for start in range(0, len(line), width))
    assert decode_token(f"  {wrapped}\n") == token()


def test_a_token_is_safe_in_a_shell() -> None:
    assert set(encode_token(token())) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "text",
    ["", "token", "€", "e30", encode_token(token())[:-9], encode_token(token(v=2)), "A" * 200_000],
    ids=["empty", "word", "letters", "no-fields", "cut", "later-version", "long"],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_token(text)
    assert caught.type in (MalformedMessage, OversizedMessage)


@pytest.mark.parametrize(
    "changes",
    [{"fleet": "other"}, {"device": "pi-2"}, {"claim": "c-2"}, {"public_key": SECRET}, {"of_a_later_release": 1}],
    ids=lambda changes: next(iter(changes)),
)
def test_the_proof_covers_every_field(changes: dict[str, object]) -> None:
    assert claim_mac(SECRET, claim(**changes)) != claim_mac(SECRET, claim())


def test_the_proof_depends_on_the_secret_and_not_on_itself() -> None:
    assert claim_mac(KEY, claim()) != claim_mac(SECRET, claim())
    assert claim_mac(SECRET, claim(mac="1" * 64)) == claim_mac(SECRET, claim())
