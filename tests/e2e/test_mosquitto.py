"""The same fleet through a real Mosquitto with the configuration that ships: logins, retained state, a restart."""

import getpass
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.broker.embedded import answers, free_port
from controller.errors import BrokerUnreachable
from controller.mqtt import BrokerSettings
from controller.rollout.view import Phase
from controller.service import Service
from tests.e2e.bundles import Bundles
from tests.e2e.world import ROOT, World
from wire.device_state import State

pytestmark = pytest.mark.e2e

PASSWORD = "only-for-this-test"
USER = "thresher"


class Mosquitto:
    """`configs/broker/mosquitto.conf` with this test's paths and port; stands where the embedded broker does."""

    def __init__(self, folder: Path, program: str, passwords: str) -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        self._program, self._config = program, folder / "mosquitto.conf"
        shipped = (ROOT / "configs" / "broker" / "mosquitto.conf").read_text(encoding="utf-8")
        known = folder / "passwords"
        subprocess.run([passwords, "-b", "-c", str(known), USER, PASSWORD], check=True, capture_output=True)
        text = shipped.replace("/etc/mosquitto/thresher.passwd", str(known)).replace(
            "/var/lib/mosquitto/", f"{folder}/"
        )
        text = text.replace("listener 1883", f"listener {self.port} 127.0.0.1")
        # Started by root it gives up root, and could not look into a test's folder.
        self._config.write_text(f"{text}\nuser {getpass.getuser()}\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        command = [self._program, "-c", str(self._config)]
        with (self._config.parent / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not answers("127.0.0.1", self.port):
            assert time.monotonic() < deadline, (self._config.parent / "log").read_text()
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory, kernel_cache: Path) -> Iterator[World]:
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    passwords = shutil.which("mosquitto_passwd")
    if program is None or passwords is None:
        pytest.skip("needs Debian's package mosquitto: nothing is tested through it here")
    folder = tmp_path_factory.mktemp("mosquitto")
    broker = Mosquitto(folder / "broker", program, passwords)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    with World(folder / "world", kernel_cache, broker=broker, login=(USER, secret)) as world:
        yield world


def test_a_rollout_through_mosquitto_and_its_restart(guarded: World, bundles: Bundles) -> None:
    guarded.agent("barn-1")
    service = guarded.service()
    first = guarded.rollout(service, bundles.good(guarded.artifacts, "first"), ["barn-1"])
    guarded.phase(service, first, Phase.COMPLETED)
    guarded.broker.stop()
    guarded.broker.start()
    bundle = bundles.good(guarded.artifacts, "second")
    second = guarded.rollout(service, bundle, ["barn-1"])
    guarded.phase(service, second, Phase.COMPLETED)
    last = guarded.watcher.last("barn-1")
    assert (last.state, last.active) == (State.COMMITTED, bundle)


def test_wrong_credentials_are_named(guarded: World, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-it")
    settings = BrokerSettings(port=guarded.broker.port, username=USER, password_file=str(wrong))
    service = Service(guarded.workspace, settings, [guarded.fleet])
    with pytest.raises(BrokerUnreachable, match="credentials"):
        service.start()
    service.stop()
