"""An environment counts when its record stands, its Python is there, and its lock is this release's."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.convert.environments import environment, install, remove, required
from controller.convert.environments.locks import locks_of
from controller.convert.environments.places import PYTHON, folder
from controller.errors import ConverterMissing, NotFound
from tests.unit.controller.convert.environments.small_wheels import VERSION, Shelf, Told, base_python, pin

DIGEST = "7" * 64


@pytest.fixture
def root(shelf: Shelf, environments: Path) -> Path:
    """An environment that counts."""
    shelf.lock([pin("beech", DIGEST)])
    made = environments / "torch"
    (made / PYTHON).parent.mkdir(parents=True)
    (made / PYTHON).symlink_to(base_python())
    record = {
        "name": "torch",
        "python": "3.11.9",
        "lock_sha256": locks_of("torch")[VERSION].digest,
        "versions": {"a": "1"},
    }
    (made / "complete.json").write_text(json.dumps(record))
    return made


def test_one_that_counts(root: Path) -> None:
    found = required("torch")
    assert found == environment("torch")
    assert (found.name, found.root, found.python, found.versions) == ("torch", root, root / PYTHON, {"a": "1"})


SPOILT: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: (root / "complete.json").unlink(), "is only partly installed"),
    (lambda root: (root / "complete.json").write_text('{"name": "to'), "is only partly installed"),
    (lambda root: (root / "complete.json").write_text("[]"), "is only partly installed"),
    (lambda root: (root / "complete.json").write_text('{"name": "torch"}'), "is only partly installed"),
    (lambda root: (root / PYTHON).unlink(), r"has lost its Python \(it was made with Python 3.11.9\)"),
    (lambda root: root.rename(root.with_name("other")), "is not installed"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_what_is_not_whole_does_not_count(root: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(root)
    assert environment("torch") is None
    with pytest.raises(ConverterMissing, match=f"torch {said}: run  controller model converters install torch"):
        required("torch")


def test_one_of_another_lock_does_not_count(root: Path, shelf: Shelf) -> None:
    text = locks_of("torch")[VERSION].text
    shelf.lock([text], megabytes="1 to download, 2 installed")
    assert environment("torch") is not None, "a note is no other lock"
    shelf.lock([text.replace("beech==1.0", "beech==2.0")])
    with pytest.raises(ConverterMissing, match="made from another lock than this release's"):
        required("torch")
    assert root.exists()


@pytest.mark.parametrize("call", [environment, required, remove, lambda name: install(name, Told())])
def test_a_name_that_there_is_not(call: Callable[[str], object]) -> None:
    with pytest.raises(NotFound, match="'caffe'; there are torch, onnx2tf, tensorflow"):
        call("caffe")


@pytest.mark.usefixtures("shelf")
def test_an_installation_that_holds_no_locks_says_so() -> None:
    with pytest.raises(NotFound, match=r"no lock of the converter environment torch in .*; install thresher again"):
        install("torch", Told())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"THRESHER_CONVERTERS": "~/own", "XDG_DATA_HOME": "/data"}, "/home/her/own"),
        ({"XDG_DATA_HOME": "/data"}, "/data/thresher/converters"),
        ({"THRESHER_CONVERTERS": "", "XDG_DATA_HOME": ""}, "/home/her/.local/share/thresher/converters"),
    ],
)
def test_where_environments_lie(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("THRESHER_CONVERTERS", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/her", **variables}.items():
        monkeypatch.setenv(name, value)
    assert folder() == Path(expected)
