"""The memory meter tells the truth, on this host and on recorded cgroup folders."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent.measure.memory import MemoryMeter, own_leaf, rss_bytes

KNOWN_BYTES = 64 * 2**20
ALLOCATE = f"""
import sys
before = bytearray(200 * 2**20); before[::4096] = b"x" * len(before[::4096]); del before  # an older, larger peak
from agent.measure.memory import MemoryMeter, peak_rss_bytes
from pathlib import Path
meter = MemoryMeter(cgroups=Path("/nonexistent"))
block = bytearray({KNOWN_BYTES}); block[::4096] = b"x" * len(block[::4096])
del block
use = meter.use()
print(use.peak_bytes - use.baseline_bytes, use.by)
"""


def test_a_known_allocation_is_found_within_a_mebibyte() -> None:
    done = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=True)
    found, by = done.stdout.split()
    assert by == "vm_hwm"
    assert abs(int(found) - KNOWN_BYTES) <= 2**20


def proc_folder(folder: Path, cgroup: str) -> Path:
    folder.mkdir()
    (folder / "cgroup").write_text(cgroup)
    (folder / "clear_refs").write_text("")
    (folder / "status").write_text(
        "Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nRssAnon:\t  900 kB\nRssFile:\t  100 kB\n"
    )
    (folder / "smaps_rollup").write_text(
        "5581-7ffd ---p 00000000 00:00 0 [rollup]\nRss: 1024 kB\nPss: 700 kB\nPss_Dirty: 1 kB\n"
        "Private_Clean: 200 kB\nPrivate_Dirty: 400 kB\n"
    )
    return folder


def leaf_folder(folder: Path, processes: str, peak: str = "5000000\n", mode: int = 0o444) -> Path:
    """Lay a leaf out. Before Linux 6.12 nobody may write to a peak."""
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text(processes)
    (folder / "memory.current").write_text("3000000\n")
    (folder / "memory.stat").write_text("anon 2500000\nfile 400000\nkernel 100000\nfile_mapped 300000\n")
    (folder / "memory.peak").write_text(peak)
    (folder / "memory.peak").chmod(mode)
    return folder


def test_a_leaf_of_its_own_is_read(tmp_path: Path) -> None:
    proc = proc_folder(tmp_path / "proc", "0::/agent/worker\n")
    leaf = leaf_folder(tmp_path / "cgroup/agent/worker", "4711\n")
    meter = MemoryMeter(proc, tmp_path / "cgroup")
    (leaf / "memory.current").write_text("4000000\n")
    meter.loaded()
    use = meter.use()
    assert (use.baseline_bytes, use.loaded_bytes, use.peak_bytes, use.by) == (3000000, 4000000, 5000000, "cgroup_v2")
    assert (use.anonymous_bytes, use.file_bytes) == (2500000, 400000)
    assert (use.loaded_pss_bytes, use.loaded_uss_bytes) == (700 * 1024, 600 * 1024)


def test_a_peak_that_can_start_again_does(tmp_path: Path) -> None:
    proc = proc_folder(tmp_path / "proc", "0::/agent/worker\n")
    leaf = leaf_folder(tmp_path / "cgroup/agent/worker", "4711\n", mode=0o644)
    meter = MemoryMeter(proc, tmp_path / "cgroup")
    assert (leaf / "memory.peak").read_text().startswith("reset\n")
    with (leaf / "memory.peak").open(
        "r+"
    ) as peak:  # as the kernel then answers, for the descriptor that was written to
        peak.write("3200000\n")
    assert meter.use().peak_bytes == 3200000


def test_a_leaf_whose_kinds_are_not_told(tmp_path: Path) -> None:
    proc = proc_folder(tmp_path / "proc", "0::/agent/worker\n")
    leaf = leaf_folder(tmp_path / "cgroup/agent/worker", "4711\n")
    (leaf / "memory.stat").unlink()
    use = MemoryMeter(proc, tmp_path / "cgroup").use()
    assert (use.by, use.anonymous_bytes, use.file_bytes) == ("cgroup_v2", None, None)


def test_a_shared_leaf_is_not_read(tmp_path: Path) -> None:
    proc = proc_folder(tmp_path / "proc", "0::/agent\n")
    leaf_folder(tmp_path / "cgroup/agent", "4711\n4712\n")
    assert own_leaf(proc, tmp_path / "cgroup") is None
    use = MemoryMeter(proc, tmp_path / "cgroup").use()
    assert (use.baseline_bytes, use.peak_bytes, use.by) == (1024 * 1024, 2048 * 1024, "vm_hwm")
    assert (use.anonymous_bytes, use.file_bytes) == (900 * 1024, 100 * 1024)
    assert (proc / "clear_refs").read_text() == "5"


def test_a_peak_that_cannot_be_reset_says_so(tmp_path: Path) -> None:
    proc = proc_folder(tmp_path / "proc", "4:memory:/agent\n")
    (proc / "clear_refs").unlink()
    (proc / "clear_refs").mkdir()
    (proc / "smaps_rollup").unlink()
    meter = MemoryMeter(proc, tmp_path / "cgroup")
    meter.loaded()
    use = meter.use()
    assert (use.peak_bytes, use.by) == (2048 * 1024, "vm_hwm_since_exec")
    assert (use.loaded_pss_bytes, use.loaded_uss_bytes) == (None, None)


def test_this_host_tells_all_kinds() -> None:
    meter = MemoryMeter()
    meter.loaded()
    use = meter.use()
    assert use.anonymous_bytes is not None
    assert use.loaded_pss_bytes is not None
    assert use.loaded_uss_bytes is not None
    assert 0 < use.loaded_uss_bytes <= use.loaded_pss_bytes
    assert use.anonymous_bytes <= use.peak_bytes


def test_version_1_has_no_leaf(tmp_path: Path) -> None:
    proc = proc_folder(tmp_path / "proc", "4:memory:/agent\n")
    assert own_leaf(proc, tmp_path / "cgroup") is None


def test_a_kernel_without_the_reading_says_so(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\n")
    with pytest.raises(OSError, match="no VmRSS"):
        rss_bytes(tmp_path)
