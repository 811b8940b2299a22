"""What runs on a device keeps to itself: no telemetry files in a home, no connection from a worker."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.child import worker_environment
from agent.device.sandbox import seccomp
from agent.device.sandbox.syscalls import MACHINES
from agent.measure.orders import MeasureOrder
from agent.warm import ensure_warm
from tests.unit.agent.device.test_sandboxed_engines import FILES, outline_bundle
from tools.source import ROOT

CAN_FILTER = platform.machine() in MACHINES and seccomp.is_available()
needs_filter = pytest.mark.skipif(not CAN_FILTER, reason="this kernel filters no system calls")
QUIET = "tests.contract.quiet_worker"


def run_quietly(home: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    home.mkdir()
    kept = {name: text for name, text in worker_environment(1).items() if not name.startswith("XDG_")}
    variables = {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-m", QUIET, *arguments]
    return subprocess.run(command, env=variables, cwd=home, capture_output=True, check=False)


@needs_filter
@pytest.mark.parametrize("engine", sorted(FILES))
def test_a_worker_leaves_nothing_in_a_home_and_makes_no_connection(tmp_path: Path, engine: str) -> None:
    outline_bundle(tmp_path / "b", engine)
    order = MeasureOrder(
        bundle_dir=tmp_path / "b", result_path=tmp_path / "r.json", grade="quick", cache_dir=_warm_base()
    )
    (tmp_path / "order.json").write_text(order.model_dump_json(exclude_none=True))
    ended = run_quietly(tmp_path / "home", "agent.measure.worker", str(tmp_path / "order.json"))
    assert ended.returncode == 0, ended.stderr.decode()[-1000:]
    assert '"outcome":"ok"' in (tmp_path / "r.json").read_text()
    assert [str(path) for path in (tmp_path / "home").rglob("*")] == []


def _warm_base() -> Path:
    return ensure_warm().parents[1]


@needs_filter
def test_the_filter_would_have_caught_a_connection(tmp_path: Path) -> None:
    """The test above can fail: the same way of running ends what makes a socket, and not what makes none."""
    module = tmp_path / "speaks.py"
    module.write_text("import socket, sys\nsocket.socket(getattr(socket, sys.argv[1]))\n")
    for family, code in (("AF_INET", -signal.SIGSYS), ("AF_INET6", -signal.SIGSYS), ("AF_UNIX", 0)):
        command = [sys.executable, "-m", QUIET, "speaks", family]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
        ended = subprocess.run(command, env=variables, capture_output=True, check=False)
        assert ended.returncode == code, ended.stderr.decode()


def test_every_process_of_ours_is_started_with_telemetry_off() -> None:
    assert worker_environment(1)["ORT_DISABLE_TELEMETRY"] == "1"
    importing = [
        path
        for package in ("agent", "controller", "wire", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        if "import onnxruntime" in path.read_text(encoding="utf-8")
    ]
    silent = [path for path in importing if "ORT_DISABLE_TELEMETRY" not in path.read_text(encoding="utf-8")]
    names = {str(path.relative_to(ROOT)) for path in silent}
    assert importing
    assert names <= QUIETED_BY_THEIR_PARENT, names - QUIETED_BY_THEIR_PARENT


QUIETED_BY_THEIR_PARENT = {
    "controller/compress/calibrate/stream.py",  # in the child of compress/process/step.py
    "controller/compress/fusion.py",  # in a controller's command, after cli/entry.py
    "controller/compress/passes/quantize_static.py",  # in the child of compress/process/step.py
    "benchmarks/truth_parts/bundles.py",  # by the Makefile and common.environment
    "benchmarks/truth_parts/peers/ort_loop.py",  # by the Makefile and peers/tools.py
    "benchmarks/truth_parts/peers/plain_loop.py",  # by the Makefile and peers/tools.py
}
"""Modules that run only in processes which were started with the variable, each checked by hand."""
