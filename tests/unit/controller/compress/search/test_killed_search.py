"""A real search is killed, and goes on with the same command: no pass that was finished is run again.

Takes seconds, since both searches are processes whose passes are processes: that is what is tested.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from controller.compress.search.record import read_record
from tests.unit.controller.compress.small_models import write_folder

LONGEST_S = 130.0


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "controller", "--workspace", str(root), *arguments]


def started(root: Path) -> "subprocess.Popen[bytes]":
    given = ["--recipe", "int8-u8u8-minmax", "--recipe", "float32", "--recipe", "codebook-4bit"]
    asked = command(
        root, "model", "compress", "small", "--auto", "--budget", "10m", "--max-drop", "5", "--folds", "1", *given
    )
    return subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "ws"
    for given in (("init",), ("model", "import", str(write_folder(tmp_path / "small")))):
        subprocess.run(command(place, *given), check=True, capture_output=True)
    return place


def kept(root: Path) -> dict[str, int]:
    """Return every result of the cache with the moment at which it was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (root / "cache").glob("*/result.json")}


def records(root: Path) -> list[dict[str, Any]]:
    return [line for path in (root / "searches").glob("*/cache.jsonl") for line in read_record(path)]


def rows(root: Path) -> list[str]:
    """Return the names of the variants that the study holds, in the order in which they were told."""
    lines = [line for path in (root / "searches").glob("*/study.log") for line in path.read_text().splitlines()]
    told = [json.loads(line).get("user_attr", {}) for line in lines if line.endswith("}")]
    return [attributes["row"]["variant"] for attributes in told if "row" in attributes]


def killed_after(running: "subprocess.Popen[bytes]", root: Path, candidates: int) -> None:
    """Kill the search and its passes once so many candidates are told of."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until and running.poll() is None and len(rows(root)) < candidates:
        time.sleep(0.05)
    assert running.poll() is None, "it ended before it could be killed"
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


@pytest.mark.long  # a whole search, killed and begun again
def test_a_killed_search_goes_on_and_repeats_no_finished_pass(root: Path) -> None:
    killed_after(started(root), root, candidates=1)
    before, written, first = kept(root), records(root), rows(root)
    assert [line for line in written if not line["hit"]], "nothing was made before it was killed"

    killed_after(started(root), root, candidates=3)
    assert rows(root)[: len(first)] == first
    assert len(set(rows(root))) == len(rows(root)) >= 3, "a candidate was tried twice, or too few were tried"
    made = Counter(line["key"] for line in records(root) if not line["hit"])
    assert max(made.values()) == 1, "a result was made twice"
    hits = [line for line in records(root)[len(written) :] if line["hit"] and line["key"] in before]
    assert hits, "the second run took nothing from the first"
    after = kept(root)
    assert {key: after[key] for key in before} == before, "a kept result was written again"
