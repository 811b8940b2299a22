"""Runs the shipped units under a real systemd, which is the first process of namespaces of its own on this host.

Decides: what that systemd sees: the unit as it ships, this checkout as the installed release, users and state of its
own. Leaves out: what is asserted. All limits and the whole sandbox of the unit are systemd's work, cgroups included;
where the host has cgroups v1, they are v1's. Needs root, systemd 250 and Linux namespaces.

    with UnitLauncher(folder, config, kernels) as unit:
        unit.main_pid()
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
AGENT, CONTROLLER = "thresher-agent.service", "thresher-controller.service"
SYSTEMD = Path("/lib/systemd/systemd")
CGROUPS = Path("/sys/fs/cgroup")
V1_TREES = ("systemd", "memory", "pids", "cpu", "cpuacct")
AGENT_UID, WORKER_UID, CONTROLLER_UID = 64_781, 64_782, 64_783
PATIENCE_S = 60.0

SCRIPT = """
set -e
cd {folder}
mount --make-rprivate /
{cgroups}
mount -t proc proc /proc
mount -t tmpfs tmpfs /run -o mode=755
mount -t tmpfs tmpfs {folder}/over
mkdir over/etc over/work
mount -t overlay overlay -o lowerdir=/etc,upperdir={folder}/over/etc,workdir={folder}/over/work /etc
echo thresher:x:{agent}:{agent}::/var/lib/thresher:/usr/sbin/nologin >> /etc/passwd
echo thresher:x:{agent}: >> /etc/group
echo thresher-worker:x:{worker}:{worker}::/nonexistent:/usr/sbin/nologin >> /etc/passwd
echo thresher-worker:x:{worker}: >> /etc/group
echo thresher-controller:x:{controller}:{controller}::/var/lib/thresher-controller:/usr/sbin/nologin >> /etc/passwd
echo thresher-controller:x:{controller}: >> /etc/group
mkdir -p /etc/thresher /etc/credstore
cp agent.yaml controller.env /etc/thresher/
cp credential /etc/credstore/thresher.broker-password
chmod 600 /etc/credstore/thresher.broker-password
mount --bind var /var/lib
mount --bind {checkout} opt/checkout
mount --bind {python} opt/python
mount --bind {packages} opt/packages
mount --rbind opt /opt
mount --make-rshared /
export container=test SYSTEMD_UNIT_PATH={folder}/units SYSTEMD_GENERATOR_PATH={folder}/none
export SYSTEMD_ENVIRONMENT_GENERATOR_PATH={folder}/none
exec {systemd} --system --unit=test.target --log-target=console --show-status=0
"""
V1_SCRIPT = """
mount -t tmpfs tmpfs /sys/fs/cgroup -o mode=755
for tree in {trees}; do mkdir /sys/fs/cgroup/$tree; mount -t cgroup -o $tree cgroup /sys/fs/cgroup/$tree; done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
"""
V2_SCRIPT = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"

FOR_THE_TEST = """[Service]
WatchdogSec={watchdog_s}
Environment=PYTHONPATH=/opt/checkout:/opt/packages
Environment=LD_LIBRARY_PATH=/opt/python/lib {variables}
StandardOutput=append:/var/lib/agent.log
StandardError=append:/var/lib/agent.log
"""
"""What the test says besides the unit: the interpreter of this host, and a watchdog that a test can wait for."""


def why_not() -> str | None:
    """Return why systemd cannot be run here; None where it can."""
    if os.geteuid() != 0:
        return "only root can make namespaces with a systemd in them"
    if not SYSTEMD.exists() or not all(map(shutil.which, ("unshare", "nsenter", "setpriv"))):
        return "no systemd, unshare, nsenter or setpriv here: install the packages systemd and util-linux"
    if not _is_v2() and not all((CGROUPS / tree).is_dir() for tree in V1_TREES):
        return f"no cgroups that systemd could use under {CGROUPS}"
    probe = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    ended = subprocess.run(probe, capture_output=True, text=True, check=False)
    return None if ended.returncode == 0 else f"no namespaces here: {ended.stderr.strip()}"


class UnitLauncher:
    """One agent as a service. Use it as a context."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        kernels: Path | None,
        *,
        unit: str = AGENT,
        variables: str = "",
        drop_ins: tuple[str, ...] = (),
        credential: str = "",
        watchdog_s: float = 60.0,
    ) -> None:
        """Lay everything out; nothing runs yet.

        Args:
            folder: A short path: it stands in mount commands.
            config: What agent.yaml holds, without `state_dir` and `cache_dir`.
            kernels: Folder with compiled kernels, which are copied.
            unit: The unit's file name.
            variables: Of the service besides, as in `Environment=`.
            drop_ins: Names of the unit's drop-ins that are installed as well.
            credential: Content of the broker's password file.
            watchdog_s: Stands over the unit's.
        """
        self.folder = folder
        self.state_dir = folder / "var/thresher"
        self._cgroups = [CGROUPS / tree / f"thresher-{folder.name}" for tree in ((".",) if _is_v2() else V1_TREES)]
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("over", "none", "opt/checkout", "opt/python", "opt/packages", "var/thresher", "units"):
            (folder / name).mkdir(parents=True)
        document = {**config, "state_dir": "/var/lib/thresher", "cache_dir": "/var/lib/thresher/cache"}
        (folder / "agent.yaml").write_text(yaml.safe_dump(document))
        (folder / "credential").write_text(f"{credential}\n")
        (folder / "controller.env").write_text("FLEETS=--fleet farm-sensors\n")
        if kernels is not None:
            shutil.copytree(kernels, self.state_dir / "cache", ignore=shutil.ignore_patterns("lock", "*.lock"))
        for path in [self.state_dir, *self.state_dir.rglob("*")]:
            os.chown(path, AGENT_UID, AGENT_UID)
        self._release()
        self._units(unit, drop_ins, FOR_THE_TEST.format(watchdog_s=watchdog_s, variables=variables))
        (folder / "start.sh").write_text(self._script())

    def __enter__(self) -> "UnitLauncher":
        join = [f"echo $$ > {folder}/cgroup.procs" for folder in self._cgroups]
        unshare = "unshare --mount --pid --fork --cgroup --ipc --uts --kill-child=KILL"
        start = f"exec setpriv --pdeathsig KILL {unshare} sh {self.folder}/start.sh"
        for folder in self._cgroups:
            folder.mkdir()
        with (self.folder / "systemd.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-ec", "; ".join([*join, start])], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End that systemd, and with it everything that it started."""
        assert self._process is not None
        inside = self._inside()
        self._process.kill()
        self._process.wait()
        for each in inside:
            with contextlib.suppress(psutil.Error):
                each.wait(10)
        for folder in self._cgroups:
            _remove(folder)

    def main_pid(self, other_than: int | None = None) -> int:
        """Return the agent's process id on this host, once it runs (as another process than `other_than`)."""

        def found() -> int | None:
            for each in self._inside():
                with contextlib.suppress(psutil.Error):
                    if each.pid != other_than and each.cmdline()[-4:-1] == ["agent", "run", "--config"]:
                        return each.pid
            return None

        pid: int = self.wait("the agent's process", found)
        return pid

    def state(self, unit: str) -> dict[str, str]:
        """Return what systemd says of a unit: its state, and how often it was started again."""
        init = next((each.pid for each in self._inside() if each.name() == "systemd"), None)
        show = ["systemctl", "show", unit, "--property=ActiveState,NRestarts,MainPID"]
        ended = subprocess.run(
            ["nsenter", f"--target={init}", "--mount", "--pid", *show], capture_output=True, text=True, check=False
        )
        return dict(line.split("=", 1) for line in ended.stdout.splitlines())

    def workers(self) -> list[psutil.Process]:
        """Return the serving workers."""
        return [each for each in self._inside() if _runs(each, "agent.serve.worker")]

    def wait(self, what: str, found: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
        """Return the first true answer of `found`."""
        deadline = time.monotonic() + within_s
        while not (answer := found()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {within_s:.0f} s for {what}; {self.log()[-3000:]}")
            time.sleep(0.1)  # to look for processes and read predictions takes a core for some milliseconds
        return answer

    def log(self) -> str:
        """Return what systemd and the agent have said."""
        paths = (self.folder / "systemd.log", self.folder / "var/agent.log")
        return "\n".join(path.read_text(errors="replace") for path in paths if path.exists())

    def _inside(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self._process.pid).children(recursive=True)
        return []

    def _release(self) -> None:
        """Lay out /opt/thresher/current: commands that run this checkout with this interpreter."""
        commands = self.folder / "opt/thresher/current/bin"
        commands.mkdir(parents=True)
        for name in ("agent", "controller"):
            text = f'#!/bin/sh\nexec /opt/python/bin/{_interpreter().name} -m {name} "$@"\n'
            (commands / f"thresher-{name}").write_text(text)
            (commands / f"thresher-{name}").chmod(0o755)

    def _units(self, unit: str, drop_ins: tuple[str, ...], for_the_test: str) -> None:
        units, extra = self.folder / "units", self.folder / f"units/{unit}.d"
        extra.mkdir()
        shutil.copy(ROOT / "systemd" / unit, units)
        for name in drop_ins:
            shutil.copy(ROOT / f"systemd/{unit}.d/{name}.conf", extra)
        (extra / "zz-test.conf").write_text(for_the_test)
        for name in ("sysinit", "basic", "shutdown"):  # every service depends on these
            (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n")
        (units / "test.target").write_text(f"[Unit]\nDescription=Test\nWants={unit}\n")

    def _script(self) -> str:
        trees = " ".join(tree for tree in V1_TREES if tree != "systemd")
        return SCRIPT.format(
            folder=self.folder,
            cgroups=V2_SCRIPT if _is_v2() else V1_SCRIPT.format(trees=trees),
            agent=AGENT_UID,
            worker=WORKER_UID,
            controller=CONTROLLER_UID,
            checkout=ROOT,
            python=Path(sys.base_prefix).resolve(),
            packages=Path(yaml.__file__).resolve().parent.parent,
            systemd=SYSTEMD,
        )


def _interpreter() -> Path:
    return Path(sys.executable).resolve()


def _is_v2() -> bool:
    return (CGROUPS / "cgroup.controllers").exists()


def _runs(process: psutil.Process, module: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return module in process.cmdline()
    return False


def _remove(folder: Path) -> None:
    """Remove a cgroup and those in it; the kernel may take a moment to empty it."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            for each in [*_below(folder), folder]:
                each.rmdir()
            return
        time.sleep(0.05)


def _below(folder: Path) -> Iterator[Path]:
    for parent, names, _ in os.walk(folder, topdown=False):
        yield from (Path(parent) / name for name in names)
