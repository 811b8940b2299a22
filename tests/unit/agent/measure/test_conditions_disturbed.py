"""Real disturbances of a real process are seen: a competitor, a stop, a quota."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.device import cgroup

pytestmark = pytest.mark.alone

BUSY = """
import json, os, sys, time
from agent.measure.conditions import changed_flags, interference, snapshot
core = int(sys.argv[1])
os.sched_setaffinity(0, {core})
sys.stdin.readline()
before, start = {**snapshot(), **interference()}, time.monotonic()
print("begun", flush=True)
while time.monotonic() - start < 0.6:
    sum(step * step for step in range(2000))
after, seconds = {**snapshot(), **interference()}, time.monotonic() - start
print(json.dumps(changed_flags(before, after, seconds)), flush=True)
"""
SPIN = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint('up', flush=True)\nwhile True: pass"
CORE = str(max(os.sched_getaffinity(0)))


@pytest.fixture
def busy() -> Iterator["subprocess.Popen[str]"]:
    """A process that computes for 0.6 s on one core once it is told, and then says what disturbed it."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, CORE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def begin(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "begun\n"


def flags(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    found: list[str] = json.loads(process.stdout.readline())
    return found


def test_a_competitor_on_the_same_core(busy: "subprocess.Popen[str]") -> None:
    spinner = subprocess.Popen([sys.executable, "-c", SPIN, CORE], stdout=subprocess.PIPE)
    try:
        assert spinner.stdout is not None
        spinner.stdout.readline()
        begin(busy)
        assert "disturbed" in flags(busy)
    finally:
        spinner.kill()
        spinner.communicate()


def test_a_duty_cycle_by_stopping(busy: "subprocess.Popen[str]") -> None:
    begin(busy)
    for _ in range(5):
        busy.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        busy.send_signal(signal.SIGCONT)
        time.sleep(0.05)
    assert "stalled" in flags(busy)


def test_a_cpu_quota(busy: "subprocess.Popen[str]") -> None:
    leaf = cgroup.make_leaf(None, quota_ratio=0.3)
    if leaf is None or not leaf.holds_quota:
        pytest.skip("this process may make no control group with a CPU quota")
    try:
        for path in leaf.processes_files:
            Path(path).write_text(str(busy.pid))
        begin(busy)
        assert "quota_throttled" in flags(busy)
    finally:
        busy.kill()
        busy.wait()
        leaf.drop()
