"""What arrives from the broker, decoded in one place: good, foreign, oversized, malformed."""

import pytest

from agent.mqtt import (
    AckReceived,
    ChunkReceived,
    ClaimedReceived,
    DesiredReceived,
    PlanReceived,
    RawReceived,
    Unreadable,
    decode_inbound,
)
from wire.base import LARGEST_MESSAGE_BYTES, LARGEST_PART_BYTES, encode
from wire.envelope import seal
from wire.presence import Ack
from wire.topics import Topics
from wire.trial import Plan

TOPICS = Topics("farm")
PLAN = Plan(fleet="farm", device="d", plan_gen=1, epoch=1, issued_s=1, expires_s=2)
ENVELOPE = seal("plan", PLAN, "k", lambda _: b"s")
A, B = "a" * 64, "b" * 64


def test_each_kind_is_decoded() -> None:
    assert decode_inbound(TOPICS.desired("d", "leaf"), encode(ENVELOPE)) == DesiredReceived("leaf", ENVELOPE)
    assert decode_inbound(TOPICS.plan("d"), encode(ENVELOPE)) == PlanReceived(ENVELOPE)
    assert decode_inbound(TOPICS.claimed("d"), encode(ENVELOPE)) == ClaimedReceived(ENVELOPE)
    assert decode_inbound(TOPICS.raw("d"), encode(ENVELOPE)) == RawReceived(ENVELOPE)
    assert decode_inbound(TOPICS.ack("d"), encode(Ack(trials=("t",)))) == AckReceived(Ack(trials=("t",)))
    assert decode_inbound(TOPICS.chunk(A, B), b"\x00raw") == ChunkReceived(A, B, b"\x00raw")


@pytest.mark.parametrize("topic", [TOPICS.desired("d", "leaf"), TOPICS.plan("d"), TOPICS.chunk(A, B)])
def test_a_cleared_topic_is_nothing(topic: str) -> None:
    assert decode_inbound(topic, b"") is None


def test_another_topic_of_the_protocol_is_nothing() -> None:
    assert decode_inbound(TOPICS.presence("d"), b"{}") is None


UNREADABLE = [
    (TOPICS.desired("d", "leaf"), b"\xff\xfe", "malformed_message", "leaf"),
    (TOPICS.desired("d", "leaf"), b'{"kind":"desired"}', "malformed_message", "leaf"),
    (TOPICS.plan("d"), b"[" * 100_000, "malformed_message", None),
    (TOPICS.plan("d"), b" " * (LARGEST_MESSAGE_BYTES + 1), "oversized_message", None),
    (TOPICS.ack("d"), b'{"trials":["../up"]}', "malformed_message", None),
    (TOPICS.chunk(A, B), b"x" * (LARGEST_PART_BYTES + 1), "oversized_message", None),
    ("thresher/2/farm/d/d/plan", b"{}", "bad_topic", None),
    ("something/else", b"{}", "bad_topic", None),
]


@pytest.mark.parametrize(("topic", "payload", "reason", "workload"), UNREADABLE)
def test_what_cannot_be_read_is_said_and_not_raised(
    topic: str, payload: bytes, reason: str, workload: str | None
) -> None:
    inbound = decode_inbound(topic, payload)
    assert isinstance(inbound, Unreadable)
    assert (inbound.reason, inbound.workload) == (reason, workload)
    assert len(inbound.detail) <= 1000
