"""Providers that are libraries of their own, which no machine here has: found, missing, refused, without a device."""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from agent.errors import EngineFailed
from agent.inference.engines import probe
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.engines.providers import PROVIDERS
from tests.contract.engines.fake_runtime import CPU, FakeOnnxRuntime
from tests.unit.agent.inference import bundle_kit as kit

PLUGINS = [name for name, provider in PROVIDERS.items() if provider.plugin and provider.plugin.module]
LIBRARY = "/opt/vendor/libprovider.so"
Loaded = Callable[..., OnnxRuntimeEngine]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    kit.save_linear_model(tmp_path / "m.onnx", batch=1)

    def loaded(runtime: object, **options: Any) -> OnnxRuntimeEngine:
        monkeypatch.setattr(OnnxRuntimeEngine, "import_library", lambda: runtime)
        return OnnxRuntimeEngine.load(tmp_path / "m.onnx", options, threads=3)

    return loaded


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Install the package of a provider's plug-in; return where its library is."""

    def installed(name: str) -> str:
        plugin = PROVIDERS[name].plugin
        assert plugin is not None
        module = ModuleType(plugin.module)
        module.__spec__ = ModuleSpec(plugin.module, loader=None)
        module.get_library_path = lambda: f"/site/{plugin.module}/lib.so"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, plugin.module, module)
        return f"/site/{plugin.module}/lib.so"

    return installed


def bringing(library: str, *devices: tuple[str, str], **changes: Any) -> FakeOnnxRuntime:
    return FakeOnnxRuntime(plugins={library: devices}, **changes)


def answers(engine: OnnxRuntimeEngine) -> bool:
    query = kit.queries(1)
    return np.allclose(engine.infer([query])[0], query.reshape(1, -1) @ kit.WEIGHTS, atol=1e-4)


@pytest.mark.parametrize("name", PLUGINS)
def test_an_installed_package_is_registered_once_and_used(
    load: Loaded, package: Callable[[str], str], name: str
) -> None:
    full_name, library = PROVIDERS[name].full_name, package(name)
    runtime = bringing(library, *((full_name, kind) for kind in ("CPU", "GPU", "NPU")))
    for _ in range(2):
        engine = load(runtime, provider=name)
        assert answers(engine)
        assert engine.settings["operators"] == {full_name: 2, CPU: 1}
    assert runtime.registered == [(full_name, library)]
    ((used, kind, options),) = runtime.asked[0]["options"].plugged
    assert (used, kind) == (full_name, PROVIDERS[name].plugin.device)  # type: ignore[union-attr]
    assert "device_type" not in options
    assert "backend_path" not in options


@pytest.mark.parametrize("name", PLUGINS)
def test_a_bundle_chooses_the_device(load: Loaded, package: Callable[[str], str], name: str) -> None:
    full_name, library = PROVIDERS[name].full_name, package(name)
    runtime = bringing(library, (full_name, "NPU"), (full_name, "GPU"), (full_name, "CPU"))
    load(runtime, provider=name, provider_options={"device_type": "GPU", "precision": 8})
    ((_, kind, options),) = runtime.asked[0]["options"].plugged
    assert (kind, options["precision"]) == ("GPU", "8")


def test_what_is_built_in_comes_first(load: Loaded, package: Callable[[str], str]) -> None:
    package("openvino")
    runtime = FakeOnnxRuntime((PROVIDERS["openvino"].full_name, CPU))
    load(runtime, provider="openvino")
    assert runtime.registered == []
    assert runtime.asked[0]["providers"][0] == PROVIDERS["openvino"].full_name


@pytest.mark.parametrize("name", PLUGINS)
@pytest.mark.parametrize("fault", ["refused", "no device", "another device", "not used", "takes nothing", "too old"])
def test_one_that_is_installed_in_vain_says_why(
    load: Loaded, package: Callable[[str], str], name: str, fault: str
) -> None:
    full_name, library = PROVIDERS[name].full_name, package(name)
    device = (full_name, PROVIDERS[name].plugin.device)  # type: ignore[union-attr]
    runtime, expected = {
        "refused": (FakeOnnxRuntime(), r"refuses the plug-in .*: invalid ELF header"),
        "no device": (bringing(library), r"cannot be used here: it has no device of type \w+ \(it has none\)"),
        "another device": (bringing(library, (full_name, "FPGA")), r"no device of type \w+ \(it has FPGA\)"),
        "not used": (bringing(library, device, lacks=full_name), "is listed and cannot be used here"),
        "takes nothing": (bringing(library, device, taken=0), "takes none of the model's operators"),
        "too old": (Old(), r"install onnxruntime 1\.23 or newer"),
    }[fault]
    with pytest.raises(EngineFailed, match=f"{expected}.*set the option fallback"):
        load(runtime, provider=name)
    engine = load(runtime, provider=name, fallback=True)
    assert answers(engine)
    assert engine.settings["fell_back"]


class Old:
    """ONNX Runtime before it took plug-ins."""

    def __init__(self) -> None:
        self._runtime = FakeOnnxRuntime()

    def __getattr__(self, name: str) -> Any:
        if name in ("register_execution_provider_library", "get_ep_devices"):
            raise AttributeError(name)
        return getattr(self._runtime, name)


def test_a_library_named_by_its_path_is_used_on_its_first_device(load: Loaded) -> None:
    runtime = bringing(LIBRARY, ("VendorExecutionProvider", "NPU"), ("VendorExecutionProvider", "CPU"))
    engine = load(runtime, provider="library", provider_library=LIBRARY, provider_options={"mode": True})
    assert answers(engine)
    assert engine.settings["operators"] == {"VendorExecutionProvider": 2, CPU: 1}
    assert runtime.registered == [("libprovider", LIBRARY)]
    assert runtime.asked[0]["options"].plugged == [("VendorExecutionProvider", "NPU", {"mode": "1"})]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"provider": "library"}, "belong together"),
        ({"provider": "cuda", "provider_library": LIBRARY}, "belong together"),
        ({"provider": "library", "provider_library": "libx.so"}, "is no absolute path"),
    ],
)
def test_a_path_is_the_devices_own(load: Loaded, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(EngineFailed, match=expected):
        load(bringing(LIBRARY), **options, fallback=True)


def test_a_bundle_brings_no_plug_in(load: Loaded, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="a bundle brings no machine code"):
        load(bringing(LIBRARY), provider="library", provider_library=str(tmp_path / "x.so"), fallback=True)


def test_what_an_engine_can_do_here_counts_plug_ins(
    package: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = {name: package(name) for name in PLUGINS}
    works, fails = PLUGINS
    name = PROVIDERS[works].full_name
    runtime = bringing(libraries[works], (name, PROVIDERS[works].plugin.device))  # type: ignore[union-attr]
    monkeypatch.setattr(OnnxRuntimeEngine, "import_library", lambda: runtime)
    found = probe.look("onnxruntime")
    assert found["providers"] == ["cpu", works]
    assert "refuses the plug-in" in found["unusable"][fails]


def test_the_real_onnxruntime_refuses_what_is_no_plug_in(tmp_path: Path) -> None:
    kit.save_linear_model(tmp_path / "m.onnx", batch=1)
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(b"no library")
    options = {"provider": "library", "provider_library": str(damaged)}
    with pytest.raises(EngineFailed, match=r"refuses the plug-in .*damaged\.so"):
        OnnxRuntimeEngine.load((tmp_path / "m.onnx").read_bytes(), options, threads=1)
