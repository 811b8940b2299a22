"""Samples on their way: one at a time, slowly, until acknowledged; and never those that nobody asked for."""

import base64
import random
from pathlib import Path

import pytest

from agent.loop import Loop
from agent.samples.outbox import SampleOutbox
from agent.samples.sender import FIRST_WAIT_S, LONGEST_WAIT_S, LOOK_S, MOST_BYTES_A_MINUTE, SampleSender
from wire.base import LARGEST_PART_BYTES, encode
from wire.canonical import sha256_hex
from wire.sample import PART_BYTES, Sample, SamplePart, pack, payload_of, unpack


def sample(name: str, payload: bytes = bytes(8)) -> Sample:
    return Sample(
        device="pi-1", workload="climate", sample=name, at_s=1.0, because="random", encoding="raw", dtype="uint8",
        shape=(len(payload),), payload=base64.b64encode(payload).decode(),
    )  # fmt: skip


def put(state_dir: Path, name: str, payload: bytes = bytes(8), workload: str = "climate") -> Path:
    folder = state_dir / "gateway" / workload / "capture"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.sample"
    path.write_bytes(pack(sample(name, payload)))
    return path


LARGE = random.Random(1).randbytes(300_000)


class Hands:
    """A sender, its loop's clock, and a broker that is there or not."""

    def __init__(self, state_dir: Path) -> None:
        self.now_s = 0.0
        self.online = True
        self.downloads = False
        self.sent: list[tuple[float, SamplePart]] = []
        self.loop = Loop(lambda: self.now_s)
        outbox = SampleOutbox(state_dir, ["climate"])
        self.sender = SampleSender(outbox, self.loop, self.send, lambda: self.downloads)

    def send(self, part: SamplePart) -> bool:
        if self.online:
            self.sent.append((self.now_s, part))
        return self.online

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.loop.post(self.loop.stop)
            self.loop.run()
            self.now_s += 0.25

    def names(self) -> list[str]:
        """What was sent, in order, once each."""
        return list(dict.fromkeys(part.sample for _, part in self.sent))


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    return Hands(tmp_path)


def test_a_sample_comes_out_as_it_went_in_slowly(hands: Hands, tmp_path: Path) -> None:
    put(tmp_path, "s-1", LARGE)
    hands.sender.start()
    hands.pass_time(60.0)
    parts = [part for _, part in hands.sent][: hands.sent[0][1].parts]
    assert [part.part for part in parts] == list(range(len(parts)))
    assert len(parts) == len(pack(sample("s-1", LARGE))) // PART_BYTES + 1 > 3
    assert all(len(encode(part)) <= LARGEST_PART_BYTES for part in parts)
    whole = b"".join(base64.b64decode(part.data) for part in parts)
    assert {part.sha256 for part in parts} == {sha256_hex(whole)}
    assert payload_of(unpack(whole)) == LARGE
    sent_bytes = sum(len(part.data) for at_s, part in hands.sent if at_s < 60.0)
    assert sent_bytes <= MOST_BYTES_A_MINUTE


def test_one_is_under_way_until_it_is_acknowledged_then_it_is_deleted_and_the_next_goes(
    hands: Hands, tmp_path: Path
) -> None:
    first, second = put(tmp_path, "s-1"), put(tmp_path, "s-2")
    hands.sender.start()
    hands.pass_time(FIRST_WAIT_S / 2)
    assert hands.names() == ["s-1"]
    assert hands.sender.acknowledged(["s-1", "unknown"]) == ["s-1"]
    hands.pass_time(1.0)
    assert hands.names() == ["s-1", "s-2"]
    assert (first.exists(), second.exists()) == (False, True)
    hands.sender.acknowledged(["s-2"])
    hands.pass_time(LOOK_S)
    put(tmp_path, "s-3")
    hands.pass_time(LOOK_S)
    assert hands.names() == ["s-1", "s-2", "s-3"]


def test_unanswered_it_is_sent_again_ever_rarer(hands: Hands, tmp_path: Path) -> None:
    put(tmp_path, "s-1")
    hands.sender.start()
    hands.pass_time(3600.0)
    times_s = [at_s for at_s, _ in hands.sent]
    assert times_s[1] - times_s[0] == pytest.approx(FIRST_WAIT_S, abs=1.0)
    assert times_s[-1] - times_s[-2] == pytest.approx(LONGEST_WAIT_S, abs=1.0)
    assert len(times_s) < 20
    hands.sender.connected()
    hands.pass_time(FIRST_WAIT_S + 2.0)
    assert len(hands.sent) == len(times_s) + 2, "a new connection begins anew"


def test_without_a_broker_it_waits_for_one(hands: Hands, tmp_path: Path) -> None:
    put(tmp_path, "s-1", LARGE)
    hands.online = False
    hands.sender.start()
    hands.pass_time(100.0)
    hands.online = True
    hands.sender.connected()
    hands.pass_time(1.0)
    assert [part.part for _, part in hands.sent] == [0]


def test_nothing_is_sent_while_the_device_downloads_or_after_the_stop(hands: Hands, tmp_path: Path) -> None:
    put(tmp_path, "s-1")
    hands.downloads = True
    hands.sender.start()
    hands.pass_time(2 * LOOK_S)
    assert hands.sent == []
    hands.downloads = False
    hands.pass_time(LOOK_S)
    assert hands.names() == ["s-1"]
    hands.sender.stop()
    sent = len(hands.sent)
    hands.sender.connected()
    hands.pass_time(2 * LONGEST_WAIT_S)
    assert len(hands.sent) == sent


def test_samples_that_the_configuration_does_not_ask_for_never_leave_and_are_deleted(
    hands: Hands, tmp_path: Path
) -> None:
    left = put(tmp_path, "s-0", workload="soil")
    put(tmp_path, "s-1")
    hands.sender.start()
    hands.pass_time(1.0)
    assert hands.names() == ["s-1"]
    assert not left.exists()
    put(tmp_path, "s-2", workload="soil")
    assert hands.sender.acknowledged(["s-2"]) == []
    hands.sender.acknowledged(["s-1"])
    hands.pass_time(LOOK_S * 2)
    assert hands.names() == ["s-1"]


def test_a_sample_that_cannot_be_sent_does_not_hold_up_the_others(hands: Hands, tmp_path: Path) -> None:
    unreadable = put(tmp_path, "s-1")
    unreadable.unlink()
    unreadable.symlink_to(tmp_path)  # a folder: reading it fails
    empty = put(tmp_path, "s-2")
    empty.write_bytes(b"")
    put(tmp_path, "s-3")
    hands.sender.start()
    hands.pass_time(3 * LOOK_S)
    assert set(hands.names()) == {"s-3"}
    assert not unreadable.is_symlink()
    assert not empty.exists()
