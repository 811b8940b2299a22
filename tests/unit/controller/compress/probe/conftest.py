"""An x86-64 machine with an emulator that emulates nothing, and no root."""

import platform
from pathlib import Path

import pytest

from tests.unit.controller.compress.probe.fake_emulator import put_emulator, use


@pytest.fixture
def emulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of both emulators."""
    folder = tmp_path / "bin"
    for name in ("qemu-x86_64", "qemu-aarch64"):
        put_emulator(folder, name)
    use(folder, monkeypatch)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("THRESHER_PROBE_ROOTS", str(tmp_path / "roots"))
    return folder
