"""Frames over a real socket pair, whole and in pieces."""

import socket
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.serve.channel import (
    HEAD,
    LARGEST_ANSWERS_BYTES,
    LARGEST_HEADER_BYTES,
    Channel,
    ChannelBroken,
    Header,
    Mask,
    Numbers,
    Silent,
    decode_answers,
    encode_answers,
    encode_header,
    sizes,
)


def plain(frame: tuple[Header, memoryview] | None) -> tuple[dict[str, Any], bytes] | None:
    return (dict(frame[0]), bytes(frame[1])) if frame is not None else None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**53), st.binary(max_size=300)), max_size=10), st.integers(1, 7))
def test_frames_arrive_whole_however_they_are_cut(frames: list[tuple[int, bytes]], piece: int) -> None:
    ours, theirs = socket.socketpair()
    text = b"".join(encode_header({"id": number}, len(payload)) + payload for number, payload in frames)

    def send() -> None:
        with ours:
            for start in range(0, len(text), piece):
                ours.sendall(text[start : start + piece])

    sending = threading.Thread(target=send)
    sending.start()
    channel = Channel(theirs)
    received = [plain(channel.receive()) for _ in frames]
    assert received == [({"id": number}, payload) for number, payload in frames]
    assert channel.receive() is None
    sending.join()
    channel.close()


def test_a_large_payload_arrives_whole() -> None:
    ours, theirs = socket.socketpair()
    payload = bytes(range(256)) * 20_000
    sending = threading.Thread(target=lambda: ours.sendall(encode_header({"id": 1}, len(payload)) + payload))
    sending.start()
    frame = plain(Channel(theirs).receive())
    sending.join()
    assert frame == ({"id": 1}, payload)


NUMBERS = st.builds(
    Numbers,
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5).map(tuple),
    st.lists(st.floats(allow_nan=False)).map(tuple),
    st.lists(st.tuples(*[st.floats(allow_nan=False)] * 4), max_size=4).map(tuple),
    st.one_of(st.none(), st.binary(min_size=6, max_size=6).map(lambda pixels: Mask(2, 3, pixels))),
)


@given(st.lists(NUMBERS, max_size=5), st.tuples(*[st.integers(0, 2**62)] * 3))
def test_answers_come_back_as_they_were(answers: list[Numbers], times_ns: tuple[int, int, int]) -> None:
    frame = encode_answers(answers, times_ns)
    header_bytes, payload_bytes = sizes(frame[: HEAD.size])
    assert (header_bytes, payload_bytes) == (0, len(frame) - HEAD.size)
    assert decode_answers(frame[HEAD.size :]) == (answers, times_ns)


def test_what_are_no_answers_is_refused() -> None:
    for answer in (Numbers((1,), (0.5,)), Numbers((1,), (0.5,), mask=Mask(2, 2, bytes(4)))):
        frame = encode_answers([answer], (1, 2, 3))
        for cut in (b"", frame[HEAD.size : -1], frame[HEAD.size : HEAD.size + 30]):
            with pytest.raises(ChannelBroken):
                decode_answers(cut)


def test_a_mask_that_is_too_large_is_refused_with_a_remedy() -> None:
    ours, theirs = socket.socketpair()
    mask = Mask(1, LARGEST_ANSWERS_BYTES, bytes(LARGEST_ANSWERS_BYTES))
    Channel(theirs).send_answers([Numbers((), (), mask=mask)], (1, 2, 3))
    frame = Channel(ours).receive()
    assert frame is not None
    assert frame[0]["reason"] == "bad_query"
    assert "send a smaller picture" in frame[0]["detail"]


def test_silence_is_told_and_what_has_come_is_kept() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    channel.listen_for(0.05)
    frame = encode_header({"dtype": "int8"}, 3) + b"abc"
    ours.sendall(frame[:5])
    with pytest.raises(Silent):
        channel.receive()
    ours.sendall(frame[5:])
    assert plain(channel.receive()) == ({"dtype": "int8"}, b"abc")


def test_a_channel_that_is_shut_ends_for_who_listens() -> None:
    _ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    heard: list[object] = []
    listening = threading.Thread(target=lambda: heard.append(channel.receive()))
    listening.start()
    channel.shut()
    listening.join(10)
    assert heard == [None]
    channel.close()
    channel.shut()


@pytest.mark.parametrize("text", [HEAD.pack(LARGEST_HEADER_BYTES + 1, 0), HEAD.pack(3, 0) + b"abc"])
def test_what_is_no_frame_is_refused_before_anything_is_allocated(text: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(text)
    with pytest.raises(ChannelBroken):
        Channel(theirs).receive()


def test_an_end_in_the_middle_is_an_end() -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(encode_header({"id": 1}, 100)[:-2])
    ours.close()
    assert Channel(theirs).receive() is None


def test_a_peer_that_is_gone_does_not_hear() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    Channel(theirs).send_answers([], (0, 0, 0))


def test_a_source_s_headers_are_read_once() -> None:
    ours, theirs = socket.socketpair()
    for header in ({"dtype": "int8"}, {"dtype": "int8"}, {"dtype": "int16"}):
        ours.sendall(encode_header(header, 1) + b"x")
    channel = Channel(theirs)
    first, second, third = (channel.receive() for _ in range(3))
    assert first is not None
    assert second is not None
    assert first[0] is second[0]
    assert plain(third) == ({"dtype": "int16"}, b"x")


def test_answers_that_no_frame_holds_are_not_sent() -> None:
    ours, theirs = socket.socketpair()
    Channel(ours).send_answers([Numbers((), (0.0,) * 60_000)] * 20, (1, 2, 3))
    frame = Channel(theirs).receive()
    assert frame is not None
    assert frame[0]["reason"] == "bad_query"
    assert "ask fewer at a time" in frame[0]["detail"]


def test_a_channel_has_ended_once_the_other_end_is_gone() -> None:
    mine, theirs = socket.socketpair()
    channel = Channel(theirs)
    assert not channel.ended()
    mine.sendall(encode_header({"encoding": "raw"}))
    assert not channel.ended()
    frame = channel.receive()
    assert frame is not None
    assert frame[0] == {"encoding": "raw"}
    mine.close()
    assert channel.ended()
    assert channel.receive() is None
    channel.close()
