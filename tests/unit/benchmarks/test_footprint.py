"""What the footprint benchmark makes of what it sees; the long runs themselves are `make bench`."""

import hashlib
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.inference.kept import DIGESTS_NAME, LIBRARY_NAME, OBJECT_NAME, expected_digests
from agent.inference.limits import kernel_folder
from agent.warm import read_report
from benchmarks.common import MEGABYTE
from benchmarks.footprint import attempt
from benchmarks.footprint_parts import disk
from benchmarks.footprint_parts.control import growth_claim
from benchmarks.footprint_parts.processes import (
    Reading,
    child_running,
    heavy_objects,
    look,
    memory_claims,
    memory_of,
    written_bytes,
)
from benchmarks.footprint_parts.serving import written_claim
from benchmarks.footprint_parts.worker_start import LACKING, form_cache


def test_a_process_is_read_as_the_kernel_counts_it() -> None:
    before = memory_of(os.getpid())
    ballast = mmap.mmap(-1, 16 * MEGABYTE)  # pages of its own: an allocator may have freed ones to give
    ballast.write(b"x" * len(ballast))
    after = memory_of(os.getpid())
    assert 0 < before.pss <= before.rss
    assert after.rss - before.rss > len(ballast) // 2
    (mine, again) = look([os.getpid(), os.getpid()], 0.0)
    assert len(mine) == len(again) == 1


def test_what_is_written_is_counted(tmp_path: Path) -> None:
    before = written_bytes(os.getpid())
    (tmp_path / "file").write_bytes(os.urandom(MEGABYTE))
    assert written_bytes(os.getpid()) - before in (0, pytest.approx(MEGABYTE, rel=0.1))  # a tmpfs is no disk


def test_a_child_is_found_by_its_module() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "json.tool"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        assert child_running(os.getpid(), "json.tool") == child.pid
        assert child_running(os.getpid(), "agent.gateway.main") is None
        assert heavy_objects(child.pid) == []
        assert child.stdin is not None
        child.stdin.write(b"{}")


def test_the_largest_reading_counts() -> None:
    claims = memory_claims("worker", "at rest", 50, [Reading(40 * MEGABYTE, 51 * MEGABYTE), Reading(30, 20)])
    assert [(claim.name, claim.value, claim.holds) for claim in claims] == [
        ("worker, PSS", 40.0, True),
        ("worker, RSS", 51.0, False),
    ]


def test_growth_is_what_is_left_afterwards() -> None:
    claim = growth_claim([Reading(1, 10 * MEGABYTE)], [Reading(1, 13 * MEGABYTE)])
    assert (claim.value, claim.holds) == (3.0, True)


def test_writes_are_scaled_to_a_day() -> None:
    claim = written_claim({"control process": 10_000, "gateway": 5_000}, 60.0, before=2_000_000)
    assert (claim.value, claim.holds) == (21.6, False)
    assert "over 60 s (control process 10 kB, gateway 5 kB), times 1440; 2000 kB" in claim.how


def test_a_lock_names_its_packages() -> None:
    text = "# comment\nnumpy==2.4.6 \\\n    --hash=sha256:00\n    # via x\npydantic-core==2 ; python_version > '3'\n"
    assert disk.locked(text) == ["numpy", "pydantic-core"]


def test_what_is_installed_is_weighed_and_what_is_not_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    click_bytes = disk.installed_bytes("click")
    assert click_bytes is not None
    assert click_bytes > 100_000
    assert disk.installed_bytes("no-such-package") is None
    (tmp_path / "locks").mkdir()
    for folder in disk.OWN:
        (tmp_path / folder).mkdir()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    lock = tmp_path / "locks" / f"tiny-py{version}.txt"
    lock.write_text("click==8\n")
    monkeypatch.setattr(disk, "repository", lambda: tmp_path)
    assert disk.disk_claim("tiny", 5).value == pytest.approx(click_bytes / MEGABYTE, abs=1e-3)
    lock.write_text("click==8\nno-such-package==1\n")
    missing = disk.disk_claim("tiny", 5)
    assert (missing.value, missing.holds) == (None, False)
    assert "no-such-package" in missing.how


@pytest.mark.parametrize("form", LACKING)
def test_a_cache_of_each_form_is_warm_and_lacks_what_it_should(form: str, tmp_path: Path) -> None:
    whole = kernel_folder(tmp_path / "cache")
    whole.mkdir(parents=True)
    _pretend_warm(whole)
    folder = kernel_folder(form_cache(tmp_path / "cache", form))
    assert read_report(folder) is not None
    assert set(expected_digests(folder)) == {LIBRARY_NAME, OBJECT_NAME} - set(LACKING[form])
    assert read_report(whole) is not None


def _pretend_warm(folder: Path) -> None:

    lines = []
    for name in (LIBRARY_NAME, OBJECT_NAME):
        (folder / name).write_bytes(name.encode())
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    (folder / DIGESTS_NAME).write_text("".join(lines))
    report = {"folder": str(folder), "compiled_s": {}, "kept_s": 1.0, "refused": "", "form": "library"}
    (folder / "warm.json").write_text(json.dumps({**report, "cache_hits": 0, "cache_misses": 0, "load_ms": 1.0}))


def test_a_part_that_fails_is_a_claim_that_does_not_hold() -> None:
    def fails() -> list[object]:
        raise AssertionError("no worker came up")

    (claim,) = attempt("an int8 model", fails)  # type: ignore[arg-type]
    assert (claim.value, claim.holds) == (None, False)
    assert "no worker came up" in claim.how
