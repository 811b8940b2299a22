"""Which release is started after an upgrade, whatever goes wrong: two small releases, and a launcher that restarts.

The releases are scripts. A good one says that it has connected, as the agent does; a mute one runs and never connects.
"""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli import entry
from agent.install import upgrade
from agent.install.connected import CONNECTED_NAME, note_connected, read_connected, running_release
from agent.install.layout import Layout
from agent.install.system import InstallFailed, InstallRefused, Progress, System, UpgradeFellBack
from agent.install.upgrade import MOST_STARTS, Intent, Wanted

CONNECTS = 'echo "{\\"release\\": \\"$1\\", \\"boot_id\\": \\"1-a\\"}" > "$2/connected.json"\n'
MUTE = "true\n"
BROKEN = "exit 1\n"
KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


class Device:
    """A tree with two releases, of which the older runs, and the launcher of its unit."""

    def __init__(self, root: Path, new: str) -> None:
        self.layout = Layout(root)
        self.state_dir = self.layout.state_dir
        self.state_dir.mkdir(parents=True)
        self.layout.config_dir.mkdir(parents=True)
        document = {"fleet": "f", "device": "d", "state_dir": "../../var/lib/thresher", "trusted_keys": {"k": KEY}}
        self.layout.config.write_text(json.dumps(document))
        for name, script in (("1.0-old", CONNECTS), ("2.0-new", new)):
            program = self.layout.releases / name / "bin" / "thresher-agent"
            program.parent.mkdir(parents=True)
            program.write_text(f"#!/bin/sh\n{script}")
            program.chmod(0o755)
        self.layout.point(self.layout.current, "1.0-old")
        self.layout.point(self.layout.previous, "1.0-old")
        self.started: list[str] = []
        self.start()

    @property
    def current(self) -> str:
        return self.layout.named_by(self.layout.current)

    @property
    def previous(self) -> str:
        return self.layout.named_by(self.layout.previous)

    def start(self) -> None:
        """What the unit does at each start: look after an upgrade, then run what is current."""
        upgrade.recover(self.layout, self.state_dir)
        self.started.append(self.current)
        program = self.layout.program(self.layout.current)
        subprocess.run([program, self.current, self.state_dir], check=False)

    def upgrade(self, wait_s: float = 0.0) -> None:
        intent = Intent("2.0-new", "1.0-old")
        upgrade.switch(intent, self.layout, self.state_dir)
        upgrade.wait(intent, self.layout, self.state_dir, self.start, wait_s)


def test_a_release_that_connects_is_taken_for_good(tmp_path: Path) -> None:
    device = Device(tmp_path, CONNECTS)
    device.upgrade(wait_s=60.0)
    assert (device.current, device.previous, upgrade.read_intent(device.layout)) == ("2.0-new", "2.0-new", None)
    assert device.layout.laid() == ["1.0-old", "2.0-new"]  # the former one is kept
    for _ in range(MOST_STARTS + 2):
        device.start()
    assert device.current == "2.0-new"


@pytest.mark.parametrize("script", [MUTE, BROKEN], ids=["mute", "broken"])
def test_a_release_that_does_not_connect_is_given_up_by_the_upgrade(tmp_path: Path, script: str) -> None:
    device = Device(tmp_path, script)
    with pytest.raises(UpgradeFellBack, match=r"1\.0-old was started again") as caught:
        device.upgrade()
    assert caught.value.exit_code == 14
    assert device.started == ["1.0-old", "2.0-new", "1.0-old"]
    assert read_connected(device.state_dir)["release"] == "1.0-old"
    assert upgrade.read_intent(device.layout) is None


def test_one_that_cannot_even_be_restarted_is_given_up(tmp_path: Path) -> None:
    device = Device(tmp_path, CONNECTS)
    intent = Intent("2.0-new", "1.0-old")
    upgrade.switch(intent, device.layout, device.state_dir)

    def refused() -> None:
        raise InstallFailed("systemctl ended with exit code 1")

    with pytest.raises(UpgradeFellBack, match="could not be started"):
        upgrade.wait(intent, device.layout, device.state_dir, refused, 60.0)
    assert device.current == "1.0-old"


@pytest.mark.parametrize("script", [MUTE, BROKEN], ids=["mute", "broken"])
def test_when_the_upgrade_is_killed_three_starts_are_enough(tmp_path: Path, script: str) -> None:
    device = Device(tmp_path, script)
    upgrade.switch(Intent("2.0-new", "1.0-old"), device.layout, device.state_dir)
    for _ in range(MOST_STARTS + 1):
        device.start()
    assert device.started == ["1.0-old", *["2.0-new"] * MOST_STARTS, "1.0-old"]
    device.start()
    assert device.current == "1.0-old"


def test_when_the_upgrade_is_killed_a_good_release_stays(tmp_path: Path) -> None:
    device = Device(tmp_path, CONNECTS)
    upgrade.switch(Intent("2.0-new", "1.0-old"), device.layout, device.state_dir)
    for _ in range(MOST_STARTS + 2):
        device.start()
    assert set(device.started[1:]) == {"2.0-new"}
    assert (device.previous, upgrade.read_intent(device.layout)) == ("2.0-new", None)


@pytest.mark.parametrize("links", [0, 1])
def test_killed_between_the_intent_and_the_links_nothing_has_changed(tmp_path: Path, links: int) -> None:
    device = Device(tmp_path, CONNECTS)
    Intent("2.0-new", "1.0-old").save(device.layout)
    if links:
        device.layout.point(device.layout.previous, "1.0-old")
    device.start()
    assert (device.current, upgrade.read_intent(device.layout)) == ("1.0-old", None)


def test_an_older_connection_does_not_count(tmp_path: Path) -> None:
    """A release that was tried before has connected before."""
    device = Device(tmp_path, MUTE)
    (device.state_dir / CONNECTED_NAME).write_text('{"release": "2.0-new"}')
    with pytest.raises(UpgradeFellBack):
        device.upgrade()


def test_a_former_release_that_is_gone_is_not_gone_back_to(tmp_path: Path) -> None:
    device = Device(tmp_path, MUTE)
    upgrade.switch(Intent("2.0-new", "0.9-gone"), device.layout, device.state_dir)
    for _ in range(MOST_STARTS + 2):
        device.start()
    assert device.current == "2.0-new"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"new": "x"}', '{"new": "a", "former": "b", "starts": "many"}'])
def test_a_torn_intent_is_none(tmp_path: Path, content: str) -> None:
    device = Device(tmp_path, CONNECTS)
    device.layout.intent.write_text(content)
    device.start()
    assert device.current == "1.0-old"


def test_the_unit_asks_by_a_command(tmp_path: Path) -> None:
    device = Device(tmp_path, MUTE)
    shown = CliRunner().invoke(entry, ["upgrade", "--recover", "--root", str(tmp_path)], catch_exceptions=False)
    assert "no upgrade is under way" in shown.output
    upgrade.switch(Intent("2.0-new", "1.0-old", MOST_STARTS), device.layout, device.state_dir)
    shown = CliRunner().invoke(entry, ["upgrade", "--recover", "--root", str(tmp_path)], catch_exceptions=False)
    assert "back to 1.0-old" in shown.output
    assert device.current == "1.0-old"


# --- before the switch ------------------------------------------------------------------------------------------------


def test_a_release_that_does_not_pass_its_own_check_is_removed(tmp_path: Path) -> None:
    device = Device(tmp_path, BROKEN)
    with pytest.raises(InstallFailed, match="exit code 1"):
        upgrade.try_release("2.0-new", System(device.layout), Progress(lambda _: None))
    assert device.layout.laid() == ["1.0-old"]
    assert device.current == "1.0-old"


@pytest.mark.parametrize("spec", ["numpy", "missing.whl", "git+https://example.org/x"])
def test_what_is_no_release_is_refused(tmp_path: Path, spec: str) -> None:
    device = Device(tmp_path, CONNECTS)
    with pytest.raises(InstallRefused):
        upgrade.upgrade(Wanted(spec), device.layout, Progress(lambda _: None))
    assert device.current == "1.0-old"
    assert device.layout.laid() == ["1.0-old", "2.0-new"]


def test_without_an_installation_there_is_nothing_to_upgrade(tmp_path: Path) -> None:
    with pytest.raises(InstallRefused, match="`agent install` comes first"):
        upgrade.upgrade(Wanted("thresher"), Layout(tmp_path), Progress(lambda _: None))


def test_one_upgrade_at_a_time(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    refused = pytest.raises(InstallRefused, match="another installation or upgrade")
    with upgrade.locked(layout), refused, upgrade.locked(layout):
        pytest.fail("both hold it")
    with upgrade.locked(layout):
        assert layout.home.is_dir()


def test_a_refused_upgrade_makes_no_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "device")
    with pytest.raises(InstallRefused, match="no agent is installed"):
        upgrade.upgrade(Wanted("thresher==2"), layout, Progress(lambda _: None))
    assert not layout.root.exists()


# --- the proof of a connection ----------------------------------------------------------------------------------------


def test_a_connection_names_the_release_that_runs(tmp_path: Path) -> None:
    note_connected(tmp_path, "1.2.3", "4-aa", 5.0)
    assert read_connected(tmp_path) == {
        "version": "1.2.3",
        "boot_id": "4-aa",
        "at_s": 5.0,
        "release": running_release(),
    }
    assert running_release(Path("/opt/thresher/releases/1.2.3-ab")) == "1.2.3-ab"
    assert running_release(Path("/srv/environment")) == ""


def test_a_disk_that_takes_nothing_stops_no_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    note_connected(tmp_path / "file", "1", "b", 1.0)
    assert CONNECTED_NAME in caplog.text
    (tmp_path / CONNECTED_NAME).write_text("{")
    assert read_connected(tmp_path) == {}
