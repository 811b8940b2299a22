"""Ctrl-C and SIGTERM: what was measured is left, and a second signal does not wait for it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.bench.interruption import Interruption, interruptible
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit


def test_before_anything_was_measured_it_ends_at_once() -> None:
    taken = Interruption()
    taken.hear("begin")
    with pytest.raises(KeyboardInterrupt):
        taken(signal.SIGTERM, None)


def test_the_first_signal_asks_and_the_second_one_ends() -> None:
    taken = Interruption()
    taken.hear("replicate")
    taken(signal.SIGINT, None)
    assert taken.cancel.is_set()
    with pytest.raises(KeyboardInterrupt):
        taken(signal.SIGINT, None)


def test_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible() as taken:
        taken.hear("replicate")
        os.kill(os.getpid(), signal.SIGTERM)
        assert taken.cancel.wait(5)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# That both signals come to the same is tested above, in this process.
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_what_was_measured_until_then_is_in_the_file(tmp_path: Path, number: signal.Signals) -> None:
    """A real command in a process of its own, since only that has signals: some seconds."""
    ensure_warm()
    kit.write_bundle(tmp_path / "b")
    command = ["bench", str(tmp_path / "b"), "--grade", "quick", "--out", str(tmp_path / "r.json")]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "work")}
    (tmp_path / "work").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "agent", *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as bench:
        assert bench.stderr is not None
        for line in bench.stderr:
            if "process 2" in line:
                break
        bench.send_signal(number)
        shown, _ = bench.communicate(timeout=120)
    assert bench.returncode == 130
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["outcome"] == "failed"
    assert record["error"] == "trial_interrupted: timed processes so far: 1; measure again"
    assert len(record["replicates"]) == 1
    assert "failed: trial_interrupted" in shown
    assert list((tmp_path / "work").iterdir()) == []
