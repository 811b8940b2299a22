"""Frames over a real socket pair, whole and in pieces."""

import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.serve.channel import HEAD, LARGEST_HEADER_BYTES, Channel, ChannelBroken, encode_header


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
    received = [channel.receive() for _ in frames]
    assert received == [({"id": number}, payload) for number, payload in frames]
    assert channel.receive() is None
    sending.join()
    channel.close()


def test_a_large_payload_arrives_whole() -> None:
    ours, theirs = socket.socketpair()
    payload = bytes(range(256)) * 20_000
    sending = threading.Thread(target=lambda: ours.sendall(encode_header({"id": 1}, len(payload)) + payload))
    sending.start()
    frame = Channel(theirs).receive()
    sending.join()
    assert frame == ({"id": 1}, payload)


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
    Channel(theirs).send({"id": 1})


def test_a_source_s_headers_are_read_once() -> None:
    ours, theirs = socket.socketpair()
    for header in ({"dtype": "int8"}, {"dtype": "int8"}, {"dtype": "int16"}):
        ours.sendall(encode_header(header, 1) + b"x")
    channel = Channel(theirs)
    first, second, third = (channel.receive() for _ in range(3))
    assert first is not None
    assert second is not None
    assert first[0] is second[0]
    assert third == ({"dtype": "int16"}, b"x")


def test_answers_that_no_frame_holds_are_not_sent() -> None:
    ours, theirs = socket.socketpair()
    Channel(ours).send({"id": 3, "answers": ["x" * LARGEST_HEADER_BYTES]})
    frame = Channel(theirs).receive()
    assert frame is not None
    assert (frame[0]["id"], frame[0]["reason"]) == (3, "bad_query")
    assert "ask fewer at a time" in frame[0]["detail"]
