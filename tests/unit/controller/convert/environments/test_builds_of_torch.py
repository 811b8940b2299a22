"""The CPU build of torch is taken where pip finds it; where not, the registry's with NVIDIA's libraries."""

from pathlib import Path

import pytest

from controller.convert.environments import locks
from controller.convert.environments.builds import torch_build
from controller.convert.environments.locks import locks_of
from tools.lock import CONVERTERS
from tools.source import ROOT

DIGEST = "5" * 64


@pytest.fixture
def laid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "locks" / "converters"
    folder.mkdir(parents=True)
    (folder / "torch-py3.11.txt").write_text(f"torch==2.13.0 \\\n    --hash=sha256:{DIGEST}\n")
    (folder / "nvidia-py3.11.txt").write_text(f"triton==3.7.1 \\\n    --hash=sha256:{DIGEST}\n")
    (folder / "onnx2tf-py3.12.txt").write_text(f"onnx2tf==2.6.9 \\\n    --hash=sha256:{DIGEST}\n")
    (folder.parent / "torch-cpu.txt").write_text(f"# note\ntorch==2.13.0+cpu --hash=sha256:{DIGEST}\n")
    monkeypatch.setattr(locks, "_FOLDERS", (folder,))
    return folder


@pytest.mark.parametrize("found", [True, False])
def test_pip_is_asked_for_the_cpu_build_alone(laid: Path, tmp_path: Path, found: bool) -> None:
    asked: list[str] = []

    def answers(arguments: list[str]) -> bool:
        asked.extend(arguments)
        return found

    given = torch_build(locks_of("torch")["3.11"], tmp_path, answers)
    assert "--dry-run" in asked
    assert Path(asked[-1]).read_text() == f"torch==2.13.0+cpu --hash=sha256:{DIGEST}\n"
    expected = ("-c", laid.parent / "torch-cpu.txt") if found else ("-r", laid / "nvidia-py3.11.txt")
    assert given.arguments == (expected[0], str(expected[1]))
    assert (given.besides is None) == found


def test_without_a_cpu_build_of_the_version_pip_is_not_asked(laid: Path, tmp_path: Path) -> None:
    (laid.parent / "torch-cpu.txt").write_text(f"torch==2.12.0+cpu --hash=sha256:{DIGEST}\n")

    def unasked(_arguments: list[str]) -> bool:
        raise AssertionError("pip was asked")

    assert torch_build(locks_of("torch")["3.11"], tmp_path, unasked).besides == locks_of("nvidia")["3.11"]
    assert torch_build(locks_of("onnx2tf")["3.12"], tmp_path, unasked).arguments == ()


def test_the_shipped_locks_say_how_they_are_tried_and_how_large_they_are() -> None:
    shipped = {path.name for path in (ROOT / "locks" / "converters").glob("*.txt")}
    assert shipped == {
        f"{name.split('/')[1]}-py{each}.txt" for name, versions in CONVERTERS.items() for each in versions
    }
    for name in ("torch", "onnx2tf", "tensorflow"):
        for lock in locks_of(name).values():
            assert lock.imports, lock.path
            assert lock.download_bytes is not None
            assert lock.installed_bytes is not None
            assert lock.installed_bytes > lock.download_bytes > 0


def test_the_shipped_lock_of_torch_is_met_by_the_cpu_build() -> None:
    lock = locks_of("torch")["3.11"]
    [line] = [each for each in (ROOT / "locks" / "torch-cpu.txt").read_text().splitlines() if "+cpu" in each]
    assert line.startswith(f"torch=={lock.pins['torch']}+cpu")
    assert line.split("--hash=")[1] in (lock.block("torch") or "")
    assert not [name for name in lock.pins if name.startswith(("nvidia", "cuda", "triton"))]
