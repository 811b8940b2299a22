"""Where the root lies, and which one counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from controller.compress.probe.root import places
from controller.compress.probe.root.locks import root_locks
from controller.convert.environments.places import COMPLETE
from controller.errors import ProbeRootMissing


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"THRESHER_PROBE_ROOTS": "~/own", "XDG_DATA_HOME": "/data"}, "/home/her/own"),
        ({"THRESHER_PROBE_ROOTS": "", "XDG_DATA_HOME": "/data"}, "/data/thresher/probe"),
        ({"THRESHER_PROBE_ROOTS": "", "XDG_DATA_HOME": ""}, "/home/her/.local/share/thresher/probe"),
    ],
)
def test_the_folder(variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/her")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert places.folder() == Path(folder)


def record(**changes: Any) -> str:
    good = {"versions": {"numpy": "2.4.6"}, "locks_sha256": root_locks().digest, "disk_bytes": 5}
    return json.dumps({**good, **changes})


@pytest.mark.parametrize(
    ("content", "because"),
    [
        (None, "is only partly there"),
        ("{", "is only partly there"),
        ('{"versions": {}}', "is only partly there"),
        (record(locks_sha256="0" * 64), "was made from other locks than this release's"),
    ],
)
def test_what_does_not_count(
    content: str | None, because: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THRESHER_PROBE_ROOTS", str(tmp_path))
    assert places.fault() == "is not installed"
    places.root_folder().mkdir()
    if content is not None:
        (places.root_folder() / COMPLETE).write_text(content)
    assert places.fault() == because
    with pytest.raises(ProbeRootMissing, match=f"{because}: run  controller model probe --install"):
        places.required()
    assert places.status()["fault"] == because


def test_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRESHER_PROBE_ROOTS", str(tmp_path))
    places.root_folder().mkdir()
    (places.root_folder() / COMPLETE).write_text(record())
    found = places.required()
    assert (found.folder, found.versions) == (tmp_path / "aarch64", {"numpy": "2.4.6"})
    assert places.status() == {
        "machine": "aarch64",
        "folder": str(tmp_path / "aarch64"),
        "installed": True,
        "fault": None,
        "disk_bytes": 5,
        "versions": {"numpy": "2.4.6"},
    }
