"""Installed as on a device: a wheel of this checkout, laid down as a release, enrolled, run, renewed and taken off."""

import json
import os
import shutil
import signal
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.install import upgrade
from agent.install.claim import read_claim
from agent.install.connected import read_connected
from agent.install.layout import Layout
from agent.install.system import InstallFailed, Progress, UpgradeFellBack
from agent.install.upgrade import Wanted
from controller.enrolment import Invitation, hand_out
from controller.fleet.views import device_views
from controller.service import Service
from tests.e2e.bundles import Bundles
from tests.e2e.installed import build_wheel, make_environment, run
from tests.e2e.watcher import FLEET
from tests.e2e.world import World
from wire.claim import TokenBroker, encode_token
from wire.device_state import State

pytestmark = [pytest.mark.e2e]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`agent` of an environment into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    return make_environment(folder / "environment", build_wheel(folder / "wheel"))


def token_for(world: World, service: Service, device: str) -> str:
    broker = TokenBroker(host="127.0.0.1", port=world.broker.port)
    with service.store.begin() as session:
        invitation = Invitation(FLEET, broker, device)
        token = hand_out(session, invitation, world.key.trusted_keys, "operator:test", now_s=service.clock())
    return encode_token(token)


@contextmanager
def running(layout: Layout) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(layout.program(layout.current)), "run", "--config", str(layout.config)]
    kept = {name: text for name, text in os.environ.items() if name in ("PATH", "LANG", "HOME")}
    with (layout.root / "agent.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", env=kept)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.mark.long
def test_one_command_installs_an_agent_that_enrols_and_serves(
    program: Path, world: World, kernel_cache: Path, bundles: Bundles, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "device")
    shutil.copytree(kernel_cache, layout.state_dir / "cache")
    service = world.service()
    token = token_for(world, service, "pi-1")
    install: list[str | Path] = [program, "install", "--root", str(layout.root), "--with", "camera", "--json"]
    install += ["--claim", token]
    steps = {step["name"]: step["outcome"] for step in json.loads(run(install).stdout)["steps"]}
    assert {steps[name] for name in ("release", "current", "configuration", "unit", "kernels", "claim")} == {"done"}
    again = {step["name"]: step["outcome"] for step in json.loads(run(install).stdout)["steps"]}
    assert {again[name] for name in ("release", "current", "configuration", "unit", "claim")} == {"kept"}

    assert (layout.units / "thresher-agent.service.d" / "camera.conf").is_file()

    installed = layout.program(layout.current)
    assert "Run models on this device" in run([installed, "--help"]).stdout
    found = json.loads(run([installed, "doctor", "--json", "--config", layout.config]).stdout)
    assert found["ok"]
    assert "not answered yet" in str(found["findings"])

    with running(layout):
        world.online("pi-1")
        world.watcher.wait("the claim to be accepted", lambda: state_of_claim(layout) == "accepted")
        assert read_connected(layout.state_dir)["release"] == layout.named_by(layout.current)
        bundle = bundles.good(world.artifacts, "installed")
        world.send(world.desired("pi-1", bundle, 1))
        world.watcher.state("pi-1", State.COMMITTED, gen=1)
        refused = run([program, "uninstall", "--root", layout.root], code=13)
        assert "stop it first" in refused.stderr
    with service.store.read() as session:
        (view,) = device_views(session, FLEET)
    assert view.enrolled_s is not None

    run([installed, "uninstall", "--root", layout.root])
    assert (layout.config.is_file(), layout.home.exists(), layout.unit.exists()) == (True, False, False)
    run([program, "uninstall", "--root", layout.root, "--purge", "--yes"])
    assert not layout.config_dir.exists()
    assert not layout.state_dir.exists()


def state_of_claim(layout: Layout) -> str:
    saved = read_claim(layout.state_dir)
    return saved.state if saved is not None else "none"


# --- upgrades, with a real installer ---------------------------------------------------------------------------------

MAIN = """\
import json, pathlib, sys, time
BEHAVIOUR = {behaviour!r}
def main():
    config = pathlib.Path(sys.argv[-1])
    if sys.argv[1] == "run":
        if BEHAVIOUR == "connects":
            said = {{"release": pathlib.Path(sys.prefix).name}}
            (config.parent / "../../var/lib/thresher/connected.json").write_text(json.dumps(said))
        time.sleep(600 if BEHAVIOUR != "crashes" else 0)
    sys.exit(1 if BEHAVIOUR == "unfit" else 0)
"""


def small_wheel(folder: Path, version: str, behaviour: str) -> Path:
    """Return a wheel called thresher whose agent does nothing but behave."""
    path = folder / f"thresher-{version}-py3-none-any.whl"
    record = f"thresher-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("agent/__init__.py", "")
        wheel.writestr("agent/cli.py", MAIN.format(behaviour=behaviour))
        wheel.writestr(f"{record}/METADATA", f"Metadata-Version: 2.1\nName: thresher\nVersion: {version}\n")
        wheel.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{record}/RECORD", "")
    return path


class Launcher:
    """Restarts whatever is current: when it ends, and when the link was changed, as systemd and an upgrade do."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.started: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            upgrade.recover(self.layout, self.layout.state_dir)
            release = self.layout.named_by(self.layout.current)
            self.started.append(release)
            command = [str(self.layout.program(self.layout.current)), "run", "--config", str(self.layout.config)]
            process = subprocess.Popen(command)
            while process.poll() is None and self._same(release) and not self._stopping.wait(0.05):
                pass
            process.kill()
            process.wait()

    def _same(self, release: str) -> bool:
        return self.layout.named_by(self.layout.current) == release


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A tree with a small agent in it, as an upgrade finds it, under a launcher."""
    layout = Layout(tmp_path / "device")
    layout.state_dir.mkdir(parents=True)
    layout.config_dir.mkdir(parents=True)
    document = {"fleet": "f", "device": "d", "state_dir": "../../var/lib/thresher", "trusted_keys": {"k": "A"}}
    layout.config.write_text(json.dumps(document))
    first = upgrade.make_release(Wanted(str(small_wheel(tmp_path, "1.0", "connects")), tmp_path), layout, quiet())
    layout.point(layout.previous, first)
    layout.point(layout.current, first)
    launcher = Launcher(layout)
    yield layout
    launcher.stop()


def quiet() -> Progress:
    return Progress(lambda _: None)


def begin(layout: Layout, version: str, behaviour: str, wait_s: float) -> None:
    wheel = small_wheel(layout.root.parent, version, behaviour)
    upgrade.upgrade(Wanted(str(wheel), layout.root.parent, wait_s), layout, quiet())


@pytest.mark.long
def test_an_upgrade_stays_once_it_connects_and_else_falls_back(layout: Layout) -> None:
    first = layout.named_by(layout.current)
    begin(layout, "2.0", "connects", 60.0)
    second = layout.named_by(layout.current)
    assert second.startswith("2.0-")
    assert layout.laid() == [first, second]

    with pytest.raises(InstallFailed, match="doctor"):
        begin(layout, "3.0", "unfit", 60.0)
    assert layout.laid() == [first, second]

    with pytest.raises(UpgradeFellBack):
        begin(layout, "4.0", "mute", 1.0)
    assert layout.named_by(layout.current) == second

    with pytest.raises(UpgradeFellBack):  # three starts are over long before the wait is
        begin(layout, "5.0", "crashes", 300.0)
    assert layout.named_by(layout.current) == second
    begin(layout, "6.0", "connects", 60.0)
    assert [name.split("-")[0] for name in layout.laid()] == ["2.0", "6.0"]
