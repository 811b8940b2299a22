"""Which versions a lock prefers, and what a converter's lock says of itself."""

from pathlib import Path

import pytest

from tools import lock


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "converters").mkdir()
    monkeypatch.setattr(lock, "LOCKS", tmp_path)
    return tmp_path


def test_extras_follow_the_largest_lock_and_converters_their_own(locks: Path) -> None:
    largest, own = locks / "dev-py3.12.txt", locks / "converters" / "onnx2tf-py3.12.txt"
    for path in (largest, own):
        path.touch()
    assert lock.preferred_lock("pi", "3.12", upgrade=False) == largest
    assert lock.preferred_lock("pi", "3.12", upgrade=True) == largest
    assert lock.preferred_lock("converters/onnx2tf", "3.12", upgrade=False) == own
    assert lock.preferred_lock("converters/onnx2tf", "3.12", upgrade=True) is None
    assert lock.preferred_lock("converters/onnx2tf", "3.13", upgrade=False) is None


def test_the_largest_lock_keeps_its_versions_or_takes_those_of_an_earlier_python(locks: Path) -> None:
    assert lock.preferred_lock("dev", "3.13", upgrade=False) is None
    (locks / "dev-py3.11.txt").touch()
    assert lock.preferred_lock("dev", "3.13", upgrade=False) == locks / "dev-py3.11.txt"
    (locks / "dev-py3.13.txt").touch()
    assert lock.preferred_lock("dev", "3.13", upgrade=False) == locks / "dev-py3.13.txt"
    assert lock.preferred_lock("dev", "3.13", upgrade=True) is None


def test_a_converters_lock_is_resolved_alone_and_says_how_it_is_tried(locks: Path) -> None:
    head = "# imports: torch, onnx\n# megabytes: 5 to download, 9 installed\n"
    (locks / "converters" / "torch.in").write_text(f"{head}# a reason\ntorch==2.13.0\n")
    assert lock.said_of_itself("converters/torch") == head
    assert lock.said_of_itself("pi") == ""
    assert lock.requirements("converters/torch") == ["locks/converters/torch.in"]
    assert lock.requirements("probe/aarch64") == ["locks/probe/aarch64.in", "--no-deps"]
    assert lock.requirements("pi") == ["pyproject.toml", "locks/build.in", "--extra", "pi"]
    assert lock.requirements("base") == ["pyproject.toml", "locks/build.in"]


def test_what_a_device_does_not_need_of_executorch_is_left_out() -> None:
    assert lock.requirements("executorch")[-2:] == ["--override", "locks/executorch.overrides.in"]
    overrides = (lock.ROOT / "locks/executorch.overrides.in").read_text().splitlines()
    left_out = {line.partition(";")[0] for line in overrides if not line.startswith("#")}
    for version in lock.VERSIONS:
        text = lock.lock_path("executorch", version).read_text()
        locked = {pin.partition("==")[0] for pin in lock.pins(text)}
        assert {"executorch", "numpy", "pyyaml"} <= locked
        assert not locked & {*left_out, "torch"}
        assert "--require-hashes --no-deps -r" in text


def test_converters_are_no_extras() -> None:
    assert not set(lock.CONVERTERS) & set(lock.all_names())


def test_a_name_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        lock.main(["converters/caffe"])
    assert "no such lock: converters/caffe; there are dev, base," in capsys.readouterr().err
