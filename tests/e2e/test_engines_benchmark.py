"""The benchmark `engines` as a user starts it: what it prints keeps the contract of all benchmarks, and its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.engine_parts.cells import SOURCES, Row, every_cell, silent_rows
from benchmarks.engine_parts.subjects.reference import REFERENCE
from tests.e2e.world import ROOT
from tools.engines_table import page

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]


def test_a_quick_run_says_what_became_of_every_cell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.engines", "--quick", "--json", "--state", str(tmp_path)]
    variables = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout)
    assert found["benchmark"] == "engines"
    assert found["conditions"]["quick"]
    assert all(set(claim) == {"name", "value", "unit", "goal", "holds", "how"} for claim in found["claims"])
    rows = [Row.read(cell) for cell in found["cells"]]
    assert [row.cell for row in rows] == [cell for name in REFERENCE for cell in every_cell(name, SOURCES)]
    assert silent_rows(rows) == []
    assert {row.source for row in rows if row.p50_ms is not None} == {"onnx", "tflite"}
    assert {row["engine"] for row in found["footprints"]} >= {"onnxruntime"}
    assert page(found).count("\n## ") == 7 + len(REFERENCE)
    assert str(tmp_path) not in ended.stdout
