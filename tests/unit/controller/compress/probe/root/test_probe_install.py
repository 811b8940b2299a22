"""The root is there whole or not at all. Programs that do as little stand for apt, dpkg, pip and the emulator."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from controller.compress.probe.root import debian, install, locks, places
from controller.convert.environments.hold import exclusive
from controller.convert.environments.locks import Lock
from controller.errors import Busy, ConverterNotInstalled, DiskFull, EmulatorMissing, ProbeRootNotInstalled
from tests.unit.controller.compress.probe.fake_emulator import use

TOOLS = {
    "apt-get": 'echo "trixie https://other/debian/"; echo "bookworm $MIRROR_OF_TESTS"',
    # download-file ADDRESS FILE SHA256:DIGEST
    "apt-helper": 'cp "${2#file:}" "$3" && echo "${4#SHA256:}  $3" | sha256sum --check >&2',
    # -x PACKAGE FOLDER: the package's name becomes a file
    "dpkg-deb": 'mkdir -p "$3/usr/bin" "$3/lib" "$3/etc" && cp "$2" "$3/usr/"',
}
CONTENT = b"a package"


class Told:
    """Keeps what an installation tells."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str, total: int) -> None:
        assert total > 0
        self.stages.append(name)

    def advance(self, note: str = "") -> None:
        """Nothing is kept of steps."""

    def say(self, text: str) -> None:
        """Nothing is kept of remarks."""


class Site:
    """A mirror with one package, a shelf with one wheel, and the locks of both."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mirror, self.wheel = folder / "mirror", folder / "beech-1.0-py3-none-any.whl"
        (self.mirror / "pool").mkdir(parents=True)
        (self.mirror / "pool" / "one_arm64.deb").write_bytes(CONTENT)
        self.pip: list[list[str]] = []
        self._monkeypatch = monkeypatch
        self.lock()
        self.put_wheel("")

    def lock(self, digest: str = hashlib.sha256(CONTENT).hexdigest()) -> None:
        """Let the locks name the package by a digest."""
        wheels = Lock(
            Path("wheels.txt"), "3.11", "# imports: beech\n# megabytes: 1 to download, 2 installed\nbeech==1.0\n"
        )
        known = locks.RootLocks("bookworm", (locks.Package("pool/one_arm64.deb", len(CONTENT), digest),), wheels)
        for module in (install, places):
            self._monkeypatch.setattr(module, "root_locks", lambda: known)

    def put_wheel(self, code: str) -> None:
        """Let the wheel's module hold some code."""
        with zipfile.ZipFile(self.wheel, "w") as file:
            file.writestr("beech.py", code)
            file.writestr("beech-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: beech\nVersion: 1.0\n")

    def run_pip(self, place: Any, arguments: Sequence[str], listener: Any) -> None:
        """Do as pip does with `download`."""
        self.pip.append(list(arguments))
        listener.heard("Collecting beech==1.0")
        target = Path(arguments[arguments.index("--dest") + 1])
        target.mkdir()
        (target / self.wheel.name).write_bytes(self.wheel.read_bytes())
        assert place.temporary.is_dir()


@pytest.fixture
def site(emulators: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name, body in TOOLS.items():
        path = emulators / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    made = Site(tmp_path / "site", monkeypatch)
    monkeypatch.setenv("MIRROR_OF_TESTS", f"file:{made.mirror}")
    monkeypatch.setattr(debian, "FETCH", emulators / "apt-helper")
    monkeypatch.setattr(install, "run_pip", made.run_pip)
    return made


def nothing_is_left() -> bool:
    """Tell whether there is at most the empty file that installations lock."""
    left = list(places.folder().iterdir()) if places.folder().exists() else []
    return places.fault() == "is not installed" and [path.name for path in left] in ([], ["aarch64.lock"])


def test_a_root_from_nothing_to_removal(site: Site) -> None:
    assert install.plan(None).mirror == f"file:{site.mirror}"
    assert install.plan("https://hers").mirror == "https://hers"
    assert not places.folder().exists()

    told = Told()
    root = install.install(told, None)

    assert told.stages == ["download Debian's packages", "download wheels", "unpack", "try it"]
    assert places.fault() is None
    assert (root / "system/usr/one_arm64.deb").read_bytes() == CONTENT
    assert sorted(path.name for path in root.iterdir()) == ["complete.json", "packages", "system"]
    record = json.loads((root / "complete.json").read_bytes())
    assert record["versions"]["beech"] == "1.0"
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:", "manylinux_2_28_aarch64"} <= set(site.pip[0])

    assert install.install(again := Told(), None) == root
    assert again.stages == []
    assert install.remove()
    assert nothing_is_left()
    assert not install.remove()


def test_a_root_of_an_earlier_release_is_made_anew(site: Site) -> None:
    root = install.install(Told(), None)
    (root / "complete.json").write_text('{"versions": {}, "locks_sha256": "0", "disk_bytes": 1}')
    (root / "old").touch()
    install.install(Told(), None)
    assert places.fault() is None
    assert not (root / "old").exists()
    assert len(site.pip) == 2


def test_another_digest_leaves_nothing(site: Site) -> None:
    site.lock(digest="0" * 64)
    with pytest.raises(ProbeRootNotInstalled, match=r"(?s)one_arm64.deb: .* nothing was installed.*name by --mirror"):
        install.install(Told(), None)
    assert nothing_is_left()


def test_a_mirror_without_the_package_leaves_nothing(site: Site) -> None:
    (site.mirror / "pool" / "one_arm64.deb").unlink()
    with pytest.raises(ProbeRootNotInstalled, match=r"where the mirror has this file no more"):
        install.install(Told(), None)
    assert nothing_is_left()


def test_engines_that_do_not_load_there_leave_nothing(site: Site) -> None:
    site.put_wheel("raise OSError('wrong C library')")
    with pytest.raises(ProbeRootNotInstalled, match=r"(?s)does not work here, and was removed: .*wrong C library"):
        install.install(Told(), None)
    assert nothing_is_left()


def test_pip_that_fails_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ConverterNotInstalled("pip failed with exit code 1")

    assert site.pip == []
    monkeypatch.setattr(install, "run_pip", fails)
    with pytest.raises(ConverterNotInstalled, match="pip failed"):
        install.install(Told(), None)
    assert nothing_is_left()


@pytest.mark.usefixtures("site")
def test_what_a_killed_installation_left_goes() -> None:
    left = places.folder() / ".partial-999999999-x"
    left.mkdir(parents=True)
    install.install(Told(), None)
    assert not left.exists()


@pytest.mark.usefixtures("site")
def test_without_room_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 2_900_000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(DiskFull, match=r"this takes about 3 MB .* 3 MB are free.*\$THRESHER_PROBE_ROOTS"):
        install.install(Told(), None)
    assert nothing_is_left()


@pytest.mark.usefixtures("site")
def test_two_exclude_each_other() -> None:
    with exclusive(places.root_folder(), places.CALLED), pytest.raises(Busy, match="the probe's root aarch64"):
        install.install(Told(), None)


def test_a_machine_without_apt_is_told(emulators: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.pip == []
    use(emulators, monkeypatch, alone=True)
    monkeypatch.setattr(debian, "FETCH", emulators / "not-there")
    (emulators / "dpkg-deb").unlink()
    with pytest.raises(
        ProbeRootNotInstalled, match=r"tools of Debian or Ubuntu, and dpkg-deb, .*not-there are not here"
    ):
        install.plan(None)


def test_an_apt_without_such_a_mirror_asks_for_one(emulators: Path, site: Site) -> None:
    assert site.pip == []
    (emulators / "apt-get").write_text("#!/bin/sh\necho trixie https://other/debian/\n")
    with pytest.raises(ProbeRootNotInstalled, match="no mirror of Debian's release bookworm: name one by --mirror"):
        install.plan(None)


@pytest.mark.usefixtures("site")
def test_without_an_emulator_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path / "empty", monkeypatch, alone=True)
    with pytest.raises(EmulatorMissing, match="apt-get install qemu-user"):
        install.plan(None)
