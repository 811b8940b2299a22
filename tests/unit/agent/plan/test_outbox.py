"""Records on their way: kept, cut into parts, sent until acknowledged."""

import base64
import zlib
from pathlib import Path

import pytest

from agent.loop import Loop
from agent.plan.agenda import unmeasured
from agent.plan.outbox import Outbox
from agent.plan.sender import FIRST_WAIT_S, LONGEST_WAIT_S, Sender
from tests.unit.agent.plan.test_agenda import T1, T2, plan
from wire.base import LARGEST_PART_BYTES, decode, encode
from wire.canonical import sha256_hex
from wire.trial import Replicate, Samples, TrialPart, TrialRecord

SMALL = unmeasured(T1, plan(3, T1), "failed", "because")


def large() -> TrialRecord:
    """A record that does not fit one part."""
    import random

    dice = random.Random(1)
    samples = Samples.pack([dice.getrandbits(62) for _ in range(40_000)])
    nothing = Samples.pack([])
    replicate = Replicate(
        order=0, total_ns=samples, pre_ns=nothing, infer_ns=nothing, post_ns=nothing, warm_up_ns=nothing
    )
    return unmeasured(T2, plan(3, T2), "measured", "").model_copy(update={"replicates": (replicate,)})


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


def put_together(parts: list[TrialPart]) -> TrialRecord:
    content = b"".join(base64.b64decode(part.data) for part in parts)
    assert {part.sha256 for part in parts} == {sha256_hex(content)}
    return decode(TrialRecord, zlib.decompress(content), 10**8)


@pytest.mark.parametrize(("record", "least_parts"), [(SMALL, 1), (large(), 4)], ids=["small", "large"])
def test_a_record_comes_out_as_it_went_in(outbox: Outbox, record: TrialRecord, least_parts: int) -> None:
    outbox.put(record)
    parts = outbox.parts(record.trial)
    assert len(parts) >= least_parts
    assert [part.part for part in parts] == list(range(len(parts)))
    assert all(len(encode(part)) <= LARGEST_PART_BYTES for part in parts)
    assert put_together(parts) == record


def test_records_survive_a_restart_until_they_are_acknowledged(outbox: Outbox, tmp_path: Path) -> None:
    outbox.put(SMALL)
    outbox.put(large())
    again = Outbox(tmp_path / "outbox")
    assert again.trials() == ["t1", "t2"]
    assert again.remove(["t1", "unknown"]) == ["t1"]
    assert again.trials() == ["t2"]
    assert again.parts("t1") == []


class Hands:
    """A clock for the loop, moved by hand, and a broker that is there or not."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.online = True
        self.sent: list[str] = []
        self.loop = Loop(lambda: self.now_s)

    def send(self, part: TrialPart) -> bool:
        if self.online:
            self.sent.append(f"{part.trial}.{part.part}")
        return self.online

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.loop.post(self.loop.stop)
        self.loop.run()


def test_what_is_not_acknowledged_is_sent_again_ever_rarer(outbox: Outbox) -> None:
    hands = Hands()
    sender = Sender(outbox, hands.loop, hands.send)
    outbox.put(SMALL)
    sender.send("t1")
    assert hands.sent == ["t1.0"]
    hands.pass_time(FIRST_WAIT_S)
    assert hands.sent == ["t1.0"] * 2
    hands.pass_time(FIRST_WAIT_S)
    assert hands.sent == ["t1.0"] * 2
    for _ in range(20):
        hands.pass_time(LONGEST_WAIT_S)
    assert len(hands.sent) == 22
    sender.acknowledged(["t1"])
    hands.pass_time(LONGEST_WAIT_S)
    assert len(hands.sent) == 22


def test_a_burst_of_records_does_not_make_the_next_try_rarer(outbox: Outbox) -> None:
    """A part that the broker dropped comes again after the first wait, however many records were sent meanwhile."""
    hands = Hands()
    sender = Sender(outbox, hands.loop, hands.send)
    for number in range(9):
        outbox.put(SMALL.model_copy(update={"trial": f"t{number}"}))
        sender.send(f"t{number}")
    hands.pass_time(FIRST_WAIT_S)
    assert len(hands.sent) == 2 * 9


def test_without_a_broker_nothing_is_lost_and_a_new_connection_sends_all(outbox: Outbox) -> None:
    hands = Hands()
    hands.online = False
    sender = Sender(outbox, hands.loop, hands.send)
    for record in (SMALL, large()):
        outbox.put(record)
        sender.send(record.trial)
    assert hands.sent == []
    hands.online = True
    sender.send_all()
    assert hands.sent[0] == "t1.0"
    assert set(hands.sent[1:]) == {f"t2.{part.part}" for part in outbox.parts("t2")}
