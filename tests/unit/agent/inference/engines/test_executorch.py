"""ExecuTorch's programs through the bridge, where its wheel is installed; and what is said where it is not."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.errors import BatchFixed, EngineFailed, EngineUnavailable
from agent.inference.engines.bridge import build, library
from agent.inference.engines.executorch import ExecutorchEngine

FOLDER = Path(__file__).parent
SMALL, COUNTER = FOLDER / "small.pte", FOLDER / "counter.pte"
needs_executorch = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None or shutil.which("c++") is None,
    reason="ExecuTorch (an extra of its own) or a C++ compiler is not installed",
)


def answer_of_small(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute what the exported network does; `export_programs.py` has its weights."""
    kernel, bias = np.linspace(-1, 1, 24).reshape(4, 2, 3), np.linspace(-1, 1, 4)
    head, last = np.linspace(-1, 1, 12).reshape(3, 4), np.linspace(-1, 1, 3)
    padded = np.pad(x[0].astype(np.float64), ((0, 0), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)
    hidden = np.einsum("oik,itk->ot", kernel, windows) + bias[:, None]
    answer: NDArray[np.float64] = head @ np.maximum(hidden, 0).mean(axis=1) + last
    return answer[None]


def floats(values: Any) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


@pytest.fixture
def engine() -> Iterator[ExecutorchEngine]:
    loaded = ExecutorchEngine.load(SMALL, {}, threads=1)
    yield loaded
    loaded.close()


@needs_executorch
def test_a_program_answers_as_its_weights_say(engine: ExecutorchEngine) -> None:
    (given,), (wanted,) = engine.inputs, engine.outputs
    assert (given.name, given.shape, given.dtype) == ("input_0", (1, 2, 12), "float32")
    assert (wanted.name, wanted.shape, wanted.dtype) == ("output_0", (1, 3), "float32")
    assert engine.settings == {"intra_op_threads": 1, "backends": ["XnnpackBackend"]}
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=(1, 2, 12)).astype(np.float32)
        np.testing.assert_allclose(floats(engine.infer([x])[0]), answer_of_small(x), rtol=1e-5, atol=1e-5)


@needs_executorch
def test_outputs_are_copies(engine: ExecutorchEngine) -> None:
    x = np.ones((1, 2, 12), np.float32)
    first = engine.infer([x])[0]
    kept = first.copy()
    engine.infer([x * 5])
    np.testing.assert_array_equal(first, kept)


@needs_executorch
def test_a_program_is_loaded_from_its_bytes_as_well() -> None:
    content, x = SMALL.read_bytes(), np.ones((1, 2, 12), np.float32)
    loaded = ExecutorchEngine.load(content, {}, threads=2)
    assert loaded.settings["intra_op_threads"] == 2
    np.testing.assert_allclose(floats(loaded.infer([x])[0]), answer_of_small(x), rtol=1e-5)


@needs_executorch
@pytest.mark.parametrize("as_bytes", [False, True])
def test_state_is_kept_until_it_is_reset(as_bytes: bool) -> None:
    counter = ExecutorchEngine.load(COUNTER.read_bytes() if as_bytes else COUNTER, {}, threads=1)
    x = np.ones((1, 3), np.float32)
    assert [float(counter.infer([x])[0][0, 0]) for _ in range(3)] == [1, 2, 3]
    counter.reset()
    assert float(counter.infer([x])[0][0, 0]) == 1
    other = ExecutorchEngine.load(COUNTER, {}, threads=1)
    assert float(other.infer([x])[0][0, 0]) == 1


@needs_executorch
def test_what_does_not_fit_is_refused(engine: ExecutorchEngine) -> None:
    for wrong in (np.ones((1, 2, 13), np.float32), np.ones((1, 2, 12)), np.ones((1, 12, 2), np.float32).swapaxes(1, 2)):
        with pytest.raises(EngineFailed, match=r"input_0 takes float32 of shape \(1, 2, 12\) in one piece"):
            engine.infer([wrong])
    with pytest.raises(BatchFixed):
        engine.take_batch(2)
    engine.take_batch(1)
    engine.close()
    with pytest.raises(EngineFailed, match="was closed"):
        engine.infer([np.ones((1, 2, 12), np.float32)])


@needs_executorch
def test_damaged_programs_are_refused_in_the_runtimes_words(tmp_path: Path) -> None:
    whole = SMALL.read_bytes()
    for content in (b"", b"no program", whole[:100], whole[:2000], whole[:-1]):
        (tmp_path / "m.pte").write_bytes(content)
        with pytest.raises(EngineFailed, match=r"refuses m\.pte: .* \(error 0x"):
            ExecutorchEngine.load(tmp_path / "m.pte", {}, threads=1)
    with pytest.raises(EngineFailed, match=r"refuses missing\.pte"):
        ExecutorchEngine.load(tmp_path / "missing.pte", {}, threads=1)


@needs_executorch
def test_a_program_with_a_changed_byte_is_refused_or_answers() -> None:
    """The format's structure is checked before it is followed: no byte of it may end the process."""
    whole = bytearray(SMALL.read_bytes())
    for place in range(0, len(whole), 97):
        content = bytearray(whole)
        content[place] ^= 0xFF
        try:
            loaded = ExecutorchEngine.load(bytes(content), {}, threads=1)
        except (EngineFailed, MemoryError) as exc:
            assert "executorch" in str(exc)  # noqa: PT017 - either way is right
        else:
            loaded.close()


@needs_executorch
def test_an_option_is_refused() -> None:
    with pytest.raises(EngineFailed, match="executorch has no option 'xnnpack': it has threads"):
        ExecutorchEngine.load(SMALL, {"xnnpack": True}, threads=1)


# --- the bridge --------------------------------------------------------------------------------------------------


def test_without_executorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"install thresher\[executorch\]"):
        library.runtime_folder()


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of ExecuTorch whose headers are empty."""
    (tmp_path / "wheel/lib").mkdir(parents=True)
    for name in library.RUNTIME:
        (tmp_path / "wheel/lib" / name).touch()
    monkeypatch.setattr(build, "runtime_folder", lambda: tmp_path / "wheel")
    return tmp_path


def test_without_a_compiler_it_says_which(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"C\+\+ compiler once.*apt install g\+\+"):
        build.ensure_bridge(runtime / "cache")


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_a_compiler_that_refuses_is_told_and_nothing_is_left(runtime: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"cannot compile the bridge to ExecuTorch .*buffer_data_loader\.h"):
        build.ensure_bridge(runtime / "cache")
    assert list(library.bridge_path(runtime / "cache").parent.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(runtime: Path) -> None:
    (runtime / "cache").touch()
    with pytest.raises(EngineUnavailable, match=r"is not compiled, and .* cannot be kept .*; run `agent warm`"):
        build.ensure_bridge(runtime / "cache")


def test_the_bridge_is_another_for_another_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = set()
    for version in ("1.5.1", "1.6.0"):
        monkeypatch.setattr(library, "package_version", lambda _, version=version: version)
        paths.add(library.bridge_path(tmp_path))
    assert len(paths) == 2
