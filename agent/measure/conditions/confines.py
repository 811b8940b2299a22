"""What confines this process from outside: CPU quota, container, virtual machine.

Decides: which control group is this process's, under version 1 and version 2. A quota of any group above it holds as
well. Source: Linux, Documentation/admin-guide/cgroup-v2.rst and Documentation/scheduler/sched-bwc.rst.
"""

from collections.abc import Iterator
from pathlib import Path

from agent.measure.conditions.read import ROOT, attempt, fields, lines, number, text

_CONTAINER_PATHS = ("docker", "kubepods", "containerd", "lxc", "podman", "libpod")


def cpu_groups(root: Path = ROOT) -> Iterator[Path]:
    """Yield the folders of this process's CPU group and of those above it, innermost first."""
    tree = _tree(root)
    if tree is None:
        return
    mount, group = tree
    inside = mount / group.lstrip("/")
    # A container shows the host's name of the group, and its own folder as the root.
    folder = inside if inside.is_dir() else mount
    yield folder
    while folder != mount and mount in folder.parents:
        folder = folder.parent
        yield folder


def cpu_quota_cores(root: Path = ROOT) -> float | None:
    """Return how many cores' time this process may use at most; None where nothing limits it."""
    quotas = [quota for folder in cpu_groups(root) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def quota_throttled(root: Path = ROOT) -> dict[str, int | None]:
    """Return how often, and for how long, a quota has stopped this process's groups [count, µs]."""
    counts: list[int] = []
    micros: list[int] = []
    for folder in cpu_groups(root):
        found = fields(folder / "cpu.stat")
        if "nr_throttled" in found:
            counts.append(found["nr_throttled"])
            micros.append(found.get("throttled_usec", found.get("throttled_time", 0) // 1000))
    return {
        "quota_throttled_count": sum(counts) if counts else None,
        "quota_throttled_us": sum(micros) if micros else None,
    }


def container(root: Path = ROOT) -> str | None:
    """Return the kind of container that this process runs in; None where nothing points to one."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    named = text(root / "run/systemd/container")
    paths = text(root / "proc/self/cgroup") or ""
    return named or next((name for name in _CONTAINER_PATHS if f"/{name}" in paths), None)


def virtualisation(root: Path = ROOT) -> str | None:
    """Return the hypervisor's vendor as far as it shows itself; `none` on bare x86; None where nothing tells."""
    named = text(root / "sys/hypervisor/type") or text(root / "proc/device-tree/hypervisor/compatible")
    if named is not None:
        return named.partition("\0")[0]
    flags = next((line for line in lines(root / "proc/cpuinfo") if line.startswith("flags")), None)
    if flags is None:
        return None
    return (text(root / "sys/class/dmi/id/sys_vendor") or "unknown") if "hypervisor" in flags.split() else "none"


def _tree(root: Path) -> tuple[Path, str] | None:
    """Return where the CPU controller's tree is mounted, and this process's group in it."""
    groups = {}
    for line in lines(root / "proc/self/cgroup"):
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        groups.update(dict.fromkeys(controllers.split(","), group))
    base = root / "sys/fs/cgroup"
    for mount in (base / "cpu", base / "cpu,cpuacct"):
        if "cpu" in groups and mount.is_dir():
            return mount, groups["cpu"]
    return (base, groups[""]) if "" in groups and (base / "cgroup.controllers").is_file() else None


def _quota(folder: Path) -> float | None:
    both = (text(folder / "cpu.max") or "").split()
    if len(both) == 2:
        return attempt(lambda: int(both[0]) / int(both[1]))  # "max 100000" is no quota
    quota, period = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
    return quota / period if quota is not None and quota > 0 and period else None
