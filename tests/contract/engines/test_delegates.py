"""Every delegate of LiteRT, also those that no machine here has: found, missing, there in vain, done without."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import EngineFailed
from agent.inference.engines import delegates
from agent.inference.engines.litert import LiteRtEngine
from tests.contract.engines.fake_runtime import FakeLiteRt

MODEL = Path(__file__).parents[3] / "models/soil_carbon/soil_carbon.tflite"
NAMES = [*delegates.LIBRARIES, "library"]
Loaded = Callable[..., LiteRtEngine]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loaded:
    """Load with a fake LiteRT on a device that has the libraries, or `absent` ones."""
    vendor = tmp_path / "libvendor.so"
    vendor.touch()

    def absent(library: str) -> None:
        raise OSError(f"{library}: cannot open shared object file")

    def loaded(library: FakeLiteRt, name: str, has_library: bool = True, **options: Any) -> LiteRtEngine:
        monkeypatch.setattr(delegates, "find_library", (lambda _: None) if has_library else absent)
        monkeypatch.setattr(LiteRtEngine, "import_library", lambda: library)
        if not has_library:
            vendor.unlink()
        path = {"delegate_library": str(vendor)} if name == "library" else {}
        return LiteRtEngine.load(MODEL, {"delegate": name, **path, **options}, threads=2)

    return loaded


def answers(engine: LiteRtEngine) -> bool:
    plain = LiteRtEngine.load(MODEL, {}, threads=1)
    query = np.linspace(0, 1, 17, dtype=np.float32).reshape(1, 17)
    return bool(np.allclose(engine.infer([query])[0], plain.infer([query])[0], atol=1e-5))


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_used(load: Loaded, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLiteRt()
    engine = load(library, name, delegate_options={"precision": 8})
    ((loaded, options),) = library.loaded
    assert options == {"precision": "8"}
    assert loaded in (*delegates.LIBRARIES.get(name, ()), engine.settings["delegate_library"])
    assert "fell_back" not in engine.settings
    monkeypatch.undo()
    assert answers(engine)


@pytest.mark.parametrize("name", NAMES)
def test_one_whose_library_is_not_here(load: Loaded, name: str) -> None:
    with pytest.raises(EngineFailed, match=r"none of lib.*|none of /.*") as caught:
        load(FakeLiteRt(), name, has_library=False)
    assert "set the option fallback" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_here_and_does_not_work(load: Loaded, name: str) -> None:
    with pytest.raises(EngineFailed, match="is here and cannot be used: no such accelerator"):
        load(FakeLiteRt(refuses="no such\n accelerator"), name)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_takes_nothing(load: Loaded, name: str) -> None:
    with pytest.raises(EngineFailed, match="takes none of the model's operators"):
        load(FakeLiteRt(parts=0), name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["missing", "does not work", "takes nothing"])
def test_where_the_policy_allows_it_the_processor_answers_and_says_why(
    load: Loaded, name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeLiteRt(parts=0 if fault == "takes nothing" else 1, refuses="no" if fault == "does not work" else "")
    engine = load(library, name, has_library=fault != "missing", fallback=True)
    assert "delegate" in engine.settings["fell_back"]
    monkeypatch.undo()
    assert answers(engine)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"delegate": "tpu"}, "has no delegate 'tpu': it has none, gpu, nnapi, edgetpu, library"),
        ({"delegate": "library"}, "is no absolute path"),
        ({"delegate": "library", "delegate_library": "libx.so"}, "is no absolute path"),
        ({"delegate": "library", "delegate_library": str(MODEL.parent / "x.so")}, "a bundle brings no machine code"),
        ({"delegate_library": "/usr/lib/libx.so"}, "belongs to the delegate `library`"),
        ({"delegate_options": {"a": "b"}}, "no delegate"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(EngineFailed, match=expected):
        LiteRtEngine.load(MODEL, {**options, "fallback": True}, threads=1)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return delegates that the real LiteRT loads: one takes nothing, one refuses."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: these delegates are made here")
    folder, source = tmp_path_factory.mktemp("delegates"), Path(__file__).with_name("silent_delegate.c")
    for name, flags in (("silent", ()), ("refusing", ("-DREFUSES",))):
        command = ["cc", "-shared", "-fPIC", *flags, "-o", str(folder / f"{name}.so"), str(source)]
        subprocess.run(command, check=True)
    (folder / "damaged.so").write_bytes(b"no library")
    return {name: folder / f"{name}.so" for name in ("silent", "refusing", "damaged")}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("silent", "takes none of the model's operators"),
        ("refusing", "cannot be used: Failed to load delegate .* no such accelerator"),
        ("damaged", r"damaged\.so cannot be loaded: .*"),
    ],
)
def test_the_real_interpreter_says_so_as_well(libraries: dict[str, Path], name: str, expected: str) -> None:
    options = {"delegate": "library", "delegate_library": str(libraries[name])}
    with pytest.raises(EngineFailed, match=expected):
        LiteRtEngine.load(MODEL, options, threads=1)
    engine = LiteRtEngine.load(MODEL, {**options, "fallback": True}, threads=1)
    assert engine.settings["fell_back"]
    assert answers(engine)
