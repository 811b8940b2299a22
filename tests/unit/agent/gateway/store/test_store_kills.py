"""Killed in the middle, again and again: what was on the disk comes, in order, whatever the sink had taken."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from agent.gateway.base import Clock
from agent.gateway.sinks.forward import Forwarder
from agent.gateway.store.store import Store
from tests.unit.agent.gateway.sinks.sink_kit import until
from tests.unit.agent.gateway.store.forwarding_child import SETTINGS, FileSink

LIFE = 1_000_000
"""Numbers of a life begin at a multiple of this."""
LINES = 12


def live_and_die(folder: Path, life: int, *, online: bool) -> int:
    """Run a process, change the network twice, kill it; return how many of its predictions cannot be lost."""
    command = [sys.executable, "-m", "tests.unit.agent.gateway.store.forwarding_child", str(folder), str(life * LIFE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            switch(folder, online)
            safe = [int(process.stdout.readline()) for _ in range(LINES)]
            online = not online
        os.kill(process.pid, signal.SIGKILL)
        safe += [int(line) for line in process.stdout.read().splitlines()]
    assert process.returncode == -signal.SIGKILL
    return safe[-1]


def switch(folder: Path, online: bool) -> None:
    if online:
        folder.joinpath("online").touch()
    else:
        folder.joinpath("online").unlink(missing_ok=True)


async def drain(folder: Path) -> None:
    clock = Clock()
    store = Store(folder / "store", SETTINGS, clock, lambda _: None)
    forwarder = Forwarder(FileSink(folder), store, clock, lambda _: None)
    running = asyncio.create_task(forwarder.run())
    await until(lambda: store.is_empty)
    running.cancel()
    await forwarder.close()


def test_what_was_on_the_disk_survives_kills_and_comes_in_order(tmp_path: Path) -> None:
    kept = [live_and_die(tmp_path, life, online=life == 1) for life in range(3)]
    switch(tmp_path, online=True)
    asyncio.run(drain(tmp_path))
    arrived = [int(line) for line in tmp_path.joinpath("delivered").read_text().splitlines()]
    firsts = list(dict.fromkeys(arrived))  # some may come twice
    assert firsts == sorted(firsts)
    for life, count in enumerate(kept):
        of_life = [number - life * LIFE for number in firsts if number // LIFE == life]
        assert count > LINES
        assert of_life == list(range(len(of_life))), "none is missing in between"
        assert len(of_life) >= count, "none that was on the disk is missing"
