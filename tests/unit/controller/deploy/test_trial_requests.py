"""From the fleet file's `trials` section to what devices are asked, and what is refused before anything is made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.config.fleet_file import FleetFile
from controller.deploy.planning.trial_plan import check_pause, is_control, is_repeat, make_plan, requests_of
from controller.deploy.settings import DeploySettings
from controller.errors import ConfigurationError
from controller.fleet.views import DeviceView, WorkloadView
from controller.store import tables
from wire.artifact import ArtifactRef
from wire.device_state import State
from wire.presence import EngineInfo, Inventory
from wire.trial import ScenarioSettings, TrialRequest
from wire.update import Reported

NAMES = ("baseline", "int8", "float16", "dynamic", "u8")


def settings(**trials: Any) -> DeploySettings:
    fleet = {
        "version": 1,
        "fleet": "yard",
        "workloads": {
            "main": {
                "model": "leaf@1",
                "goals": {"max_accuracy_drop_ratio": 0.02, "minimise": ["wire_bytes"]},
                "trials": trials,
            }
        },
    }
    return DeploySettings(FleetFile.model_validate(fleet), "main", Path("nowhere"), "", "", ())


def device(name: str, *, serves: str | None = None) -> DeviceView:
    """A device that serves a workload, maybe another one than `main`, or none."""
    engine = EngineInfo(name="onnxruntime", version="1", formats=("onnx",))
    inventory = Inventory(
        fleet="yard", device=name, soc="s", machine="m", cores=4, memory_bytes=2**30, threads=1, os="Linux", kernel="6",
        python="3.11", engines=(engine,), disk_free_bytes=2**30,
    )  # fmt: skip
    workloads = {}
    if serves is not None:
        said = Reported(
            fleet="yard", device=name, workload=serves, gen=1, state=State.COMMITTED, active="a" * 64, boot_id="b",
            seq=1, at_s=1.0,
        )  # fmt: skip
        workloads[serves] = WorkloadView(serves, reported=said)
    return DeviceView("yard", name, True, 1.0, 2.0, inventory=inventory, workloads=workloads)


def rows() -> list[tables.Variant]:
    offline = {"score": 0.9, "model_wire_bytes": 100, "sqnr_db": 30.0, "fusion": None}
    return [
        tables.Variant(
            variant=name, format="onnx", engine="onnxruntime", control=name == "baseline", recipe={"name": name},
            offline=offline, error=None,
        )
        for name in NAMES
    ]  # fmt: skip


def asked(found: DeploySettings, *views: DeviceView) -> dict[str, list[TrialRequest]]:
    ref = ArtifactRef(digest="a" * 64, index=("b" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
    plan = make_plan(found, list(views), rows(), "d1")
    assert not plan.impossible
    return requests_of(plan, found, "d1", {row.variant: (row, ref) for row in rows()}, ref)


def test_what_the_section_says_is_what_devices_are_asked() -> None:
    found = settings(
        grade="quick", scenario="server", settings={"rate_hz": 20, "bound_ms": 50}, threads=2, profile=True
    )
    (requests,) = asked(found, device("barn-1")).values()
    assert {each.variant for each in requests} == set(NAMES)
    assert [each.control for each in requests] == [True, False, False, False, False]
    for each in requests:
        assert (each.scenario, each.grade, each.threads, each.profile) == ("server", "quick", 2, True)
        assert each.settings == ScenarioSettings(rate_hz=20, bound_ms=50)
        assert each.group == "d1"
    assert len({each.trial for each in requests}) == len(requests)


def test_sittings_are_groups_with_a_control_each() -> None:
    (requests,) = asked(settings(longest_pause_s=300), device("barn-1", serves="other")).values()
    by_group = {group: [each for each in requests if each.group == group] for group in ("d1", "d1.s2")}
    assert sum(map(len, by_group.values())) == len(requests) == len(NAMES) + 1
    for group, sitting in by_group.items():
        assert [each.variant for each in sitting if each.control] == ["baseline"]
        suffix = group.removeprefix("d1")
        assert all(each.trial.partition(".")[2] == suffix.removeprefix(".") for each in sitting)
    assert len({each.trial for each in requests}) == len(requests)
    assert not any(is_repeat(each.trial) for each in requests)


@pytest.mark.parametrize(
    ("trials", "serves", "refused"),
    [
        ({"grade": "ranking"}, "main", True),
        ({"grade": "ranking"}, "other", True),  # it is paused as well
        ({"grade": "ranking"}, None, False),
        ({"grade": "ranking", "policy": "coexist"}, "main", False),
        ({"grade": "ranking", "longest_pause_s": 3600}, "main", False),
        ({"grade": "normal"}, "main", False),
    ],
)
def test_a_pause_that_cannot_be_kept_is_refused_first(
    trials: dict[str, Any], serves: str | None, refused: bool
) -> None:
    views = [device("barn-1", serves=serves)]
    if not refused:
        check_pause(settings(**trials), views)
        return
    with pytest.raises(ConfigurationError, match=r"barn-1: measuring the control and one variant .* raise it"):
        check_pause(settings(**trials), views)


@pytest.mark.parametrize(
    ("recipe", "control"),
    [
        ({"passes": [{"tflite_float": {}}], "engine_options": {}}, True),
        ({"passes": [{"converted": {"precision": "float"}}], "engine_options": {}}, True),
        ({"passes": [{"converted": {"precision": "int8"}}], "engine_options": {}}, False),
        ({"passes": [{"converted": {"precision": "float"}}, {"simplify": {}}], "engine_options": {}}, False),
        ({"passes": [{"tflite_float": {}}], "engine_options": {"litert": {"threads": 1}}}, False),
        ({"passes": [{"simplify": {}}]}, False),
        ({}, False),
    ],
)
def test_the_control_is_the_float_file_as_it_is(recipe: dict[str, Any], control: bool) -> None:
    """Where only its engine runs, a float file that was handed on is the model that variants are compared with."""
    assert is_control(tables.Variant(variant="x", recipe=recipe)) is control
    assert is_control(tables.Variant(variant="baseline", recipe={}))


@pytest.mark.parametrize(
    ("engines", "control", "measured"),
    [
        (("onnxruntime",), "baseline", {"baseline"}),
        (("tflite-runtime",), "float@tflite-runtime", {"float@tflite-runtime", "int8@tflite-runtime"}),
        (
            ("litert", "tflite-runtime"),
            "float",
            {"float", "int8", "float@tflite-runtime", "int8@tflite-runtime"},
        ),
        (("executorch",), "a-program", {"a-program"}),
        (("executorch", "litert"), "float", {"float", "int8", "a-program"}),  # its own file before a converted one
    ],
)
def test_a_class_measures_what_its_engines_run(engines: tuple[str, ...], control: str, measured: set[str]) -> None:
    lite: dict[str, Any] = {"passes": [{"tflite_float": {}}], "engine_options": {}}
    int8 = {"passes": [{"tflite_quantize": {"mode": "static"}}], "engine_options": {}}
    program = {"passes": [{"converted": {"precision": "float"}}], "engine_options": {}}
    known = [
        ("baseline", "onnxruntime", {}), ("float", "litert", lite), ("float@tflite-runtime", "tflite-runtime", lite),
        ("int8", "litert", int8), ("int8@tflite-runtime", "tflite-runtime", int8), ("a-program", "executorch", program),
    ]  # fmt: skip
    known.sort()
    made = [
        tables.Variant(
            variant=name, format="x", engine=engine, control=name == "baseline", recipe=recipe, error=None,
            offline={"score": 0.9, "model_wire_bytes": 100, "sqnr_db": 30.0, "fusion": None},
        )
        for name, engine, recipe in known
    ]  # fmt: skip
    view = device("barn-1")
    assert view.inventory is not None
    found = tuple(EngineInfo(name=name, version="1", formats=()) for name in engines)
    having = replace(view, inventory=view.inventory.model_copy(update={"engines": found}))
    (part,) = make_plan(settings(), [having], made, "d1").classes
    assert part.control == control
    assert set(part.variants) == measured
