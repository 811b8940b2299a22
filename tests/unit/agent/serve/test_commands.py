"""Command lines and the descriptors that come with them, over real sockets and pipes."""

import os
import socket

from agent.serve.commands import BAD_COMMAND, CommandReader


def test_lines_and_descriptors_belong_together() -> None:
    ours, theirs = socket.socketpair()
    reader = CommandReader(theirs.fileno())
    first, second = socket.socketpair()
    socket.send_fds(ours, [b'{"do": "attach", "n": 1}\n{"do":'], [first.fileno()])
    socket.send_fds(ours, [b' "attach", "n": 2}\n'], [second.fileno()])
    commands: list[dict[str, object]] = []
    while len(commands) < 2:
        commands += reader.read() or []
    assert [command["n"] for command in commands] == [1, 2]
    taken = [reader.take_socket(), reader.take_socket()]
    assert reader.take_socket() is None
    assert taken[0] is not None
    taken[0].sendall(b"x")
    assert second.recv(1) == b"x"  # the first descriptor is the first line's


def test_what_is_no_command_is_told_apart_and_the_end_is_the_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b'no json\n[1]\n{"do": "stop"}\n{"do"')
    reader = CommandReader(reading)
    assert reader.read() == [BAD_COMMAND, BAD_COMMAND, {"do": "stop"}]
    assert reader.take_socket() is None
    os.close(writing)
    assert reader.read() is None
    os.close(reading)
