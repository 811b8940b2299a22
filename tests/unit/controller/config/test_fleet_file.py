"""The fleet file: what it holds, what it refuses, which device belongs where."""

import json
from pathlib import Path
from typing import Any

import pytest

from controller.config.classes import class_of, usable_engines
from controller.config.fleet_file import BrokerAddress, DeviceClass, FleetFile, load_fleet
from controller.config.references import ModelReference, model_reference
from controller.config.schema import PUBLISHED, schema_text
from controller.config.yaml_file import parse_yaml
from controller.errors import ConfigurationError, NotFound
from wire.presence import EngineInfo, Inventory
from wire.update import Window

FARM = Path(__file__).parents[4] / "configs" / "fleets" / "farm-sensors.yaml"
SMALL = """\
version: 1
fleet: f
classes:
  - {name: a, match: {labels: {board: a}}}
  - {name: b, match: {machine: aarch64}}
workloads:
  main:
    model: m@1
    goals: {max_accuracy_drop_ratio: 0.02}
"""


def read(text: str) -> FleetFile:
    return parse_yaml(text, FleetFile, "fleet.yaml")


def inventory(**changes: Any) -> Inventory:
    fields: dict[str, Any] = {
        "fleet": "f",
        "device": "d-1",
        "soc": "Broadcom BCM2712",
        "machine": "x86_64",
        "cores": 4,
        "memory_bytes": 4_000_000_000,
        "threads": 1,
        "os": "Debian",
        "kernel": "6",
        "python": "3.11",
        "engines": (EngineInfo(name="onnxruntime", version="1"), EngineInfo(name="litert", version="2")),
        "disk_free_bytes": 1,
    }
    return Inventory(**(fields | changes))


def test_the_shipped_fleet_is_valid_and_has_the_demo_s_classes() -> None:
    fleet = load_fleet(FARM)
    assert [each.name for each in fleet.classes] == ["emulated-single", "emulated-dual", "emulated-small"]
    main = fleet.workload("main")
    assert main.goals.max_accuracy_drop_ratio == 0.025
    assert main.goals.decide_on == "bound"
    assert main.trials.wants("emulated-single", "onnx-int8-s8s8-minmax")
    assert main.trials.wants("emulated-single", "onnx-dynamic-int8")
    assert not main.trials.wants("emulated-single", "onnx-int8-u8s8-minmax")
    assert not main.trials.wants("emulated-dual", "onnx-int8-s8s8-minmax")


def test_the_commented_second_workload_is_valid() -> None:
    text = FARM.read_text(encoding="utf-8")
    start = text.index("  # soil:")
    uncommented = text[:start] + "\n".join(line.replace("  # ", "  ", 1) for line in text[start:].splitlines())
    assert read(uncommented).workload("soil").goals.max_r2_drop == 0.05


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_accuracy_drop_ratio: 0.02", "max_acuracy_drop_ratio: 0.02", "did you mean 'max_accuracy_drop_ratio'?"),
        ("max_accuracy_drop_ratio: 0.02", "max_accuracy_drop_ratio: 1", "less than 1"),
        ("max_accuracy_drop_ratio: 0.02", "max_accuracy_drop_ratio: 0", "no finite evaluation set proves a loss of 0"),
        ("max_accuracy_drop_ratio: 0.02", "confidence: 0.9", "fleet.yaml:9: workloads.main.goals: say how much may be"),
        ("{max_accuracy", "{max_r2_drop: 0.1, max_accuracy", "exactly one of"),
        ("0.02}", "0.02, max_p95_ms: .inf}", "fleet.yaml:9: workloads.main.goals.max_p95_ms: input should be a finite"),
        ("0.02}", "0.02, max_p95_ms: .nan}", "workloads.main.goals.max_p95_ms"),
        ("0.02}", "0.02, max_memory_bytes: 0}", "greater than 0"),
        ("0.02}", "0.02, minimise: [p95]}", "workloads.main.goals.minimise[0]"),
        ("0.02}", "0.02, minimise: [p95_ms, p95_ms]}", "minimise names a criterion twice"),
        ("version: 1", "version: 2", "fleet.yaml:1: version: "),
        ("fleet: f", "fleet: Farm Sensors", "fleet.yaml:2: fleet: "),
        ("{board: a}", "{board: 1}", "fleet.yaml:4: classes[0].match.labels.board: should be text, is 1"),
        ("{labels: {board: a}}", "{}", "'a' matches every device"),
        ("name: b", "name: a", "two are called 'a'"),
        ("machine: aarch64", "memory_bytes: {at_least: 2, at_most: 1}", "no device can match"),
        ("machine: aarch64", "memory_bytes: {}", "say at_least, at_most, or both"),
        ("    model: m@1\n", "", "workloads.main.model: is missing"),
        ("m@1\n", "m@1\n    per_class: {c: {}}\n", "workloads.main.per_class: no class 'c'; known are a, b"),
        ("m@1\n", "m@1\n    classes: [c]\n", "workloads.main.classes: no class 'c'"),
        ("m@1\n", "m@1\n    trials: {also_measure: {c: [x]}}\n", "workloads.main.trials.also_measure: no class 'c'"),
        ("m@1\n", "m@1\n    trials: {scenario: serve}\n", "workloads.main.trials.scenario"),
        (
            "m@1\n",
            "m@1\n    trials: {settings: {streams: 4}}\n",
            "settings.streams: the scenario single_stream does not",
        ),
        ("m@1\n", "m@1\n    trials: {scenario: paced, settings: {rate_hz: 4}}\n", "it reads bound_ms, period_ms"),
        ("m@1\n", "m@1\n    trials: {scenario: server}\n", "settings.rate_hz: say it for the scenario server"),
        ("m@1\n", "m@1\n    trials: {threads: 0}\n", "workloads.main.trials.threads"),
        ("m@1\n", "m@1\n    trials: {window: {opens: 9am, closes: 17:00}}\n", "'9am' is no time of the day"),
        ("m@1\n", "m@1\n    trials: {window: {opens: 09:00, closes: 09:00}}\n", "is never open"),
        (
            "m@1\n",
            "m@1\n    trials: {scenario: offline}\n",
            "goals: minimise: trials of the scenario offline give no p95_ms",
        ),
        ("0.02}", "0.02, minimise: [query_ms]}", "give no query_ms; take p50_ms or p95_ms"),
        ("0.02}", "0.02, min_queries_per_second: 9}", "set trials.scenario: offline"),
        (
            "m@1\n",
            "m@1\n    per_class: {a: {goals: {min_queries_per_second: 5}}}\n",
            "per_class.a.goals: min_queries_per_second: trials of the scenario single_stream",
        ),
        (
            "m@1\n",
            "m@1\n    per_class: {a: {goals: {max_r2_drop: 0.1}}}\n",
            "per_class.a.goals: say how much may be lost",
        ),
        (
            "m@1\n",
            "m@1\n    rollout: {gate: {max_failure_ratio: 1}}\n",
            "fleet.yaml:9: workloads.main.rollout.gate.max",
        ),
        ("m@1\n", "m@1\n    rollout: {waves: [{devices: 1}]}\n", "the last wave must be {ratio: 1.0}"),
        ("m@1\n", "m@1\n    rollout: {waves: [{ratio: 0.5}, {ratio: 0.5}, {ratio: 1}]}\n", "waves must grow"),
        ("m@1\n", "m@1\n    rollout: {waves: [{ratio: 0.5}, {devices: 9}, {ratio: 1}]}\n", "waves must grow"),
        ("m@1\n", "m@1\n    rollout: {waves: [{}, {ratio: 1}]}\n", "exactly one of devices and ratio"),
    ],
)
def test_refusals(old: str, new: str, said: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfigurationError) as caught:
        read(SMALL.replace(old, new, 1))
    assert said in str(caught.value)
    assert str(caught.value).startswith("fleet.yaml:")


def test_a_class_may_want_other_goals() -> None:
    fleet = read(SMALL + "    per_class: {a: {goals: {max_p95_ms: 5, max_accuracy_drop_ratio: 0.1}}}\n")
    main = fleet.workload("main")
    assert (main.goals_of("a").max_p95_ms, main.goals_of("a").max_accuracy_drop_ratio) == (5, 0.1)
    assert main.goals_of("b") == main.goals
    with pytest.raises(NotFound, match="no workload 'x'; it has main"):
        fleet.workload("x")


def test_offline_goals_speak_of_throughput() -> None:
    text = SMALL.replace("0.02}", "0.02, minimise: [query_ms, wire_bytes], min_queries_per_second: 50}")
    fleet = read(text.replace("m@1\n", "m@1\n    trials: {scenario: offline, settings: {batch: 8}}\n"))
    trials = fleet.workload("main").trials
    assert (trials.scenario_settings.batch, trials.scenario_settings.queries) == (8, 256)
    with pytest.raises(ConfigurationError, match="take min_queries_per_second"):
        read(text.replace("0.02,", "0.02, max_p95_ms: 5,").replace("m@1\n", "m@1\n    trials: {scenario: offline}\n"))


def test_a_window_may_be_written_with_or_without_quotes() -> None:
    quoted, bare = (
        read(SMALL.replace("m@1\n", f"m@1\n    trials: {{window: {{opens: {opens}, closes: {closes}}}}}\n"))
        for opens, closes in (('"22:00"', '"04:00"'), ("22:00", "04:00"))
    )
    policy = quoted.workload("main").trials.plan_policy
    assert policy == bare.workload("main").trials.plan_policy
    assert policy.window == Window(from_minute=22 * 60, to_minute=4 * 60)
    rules = quoted.workload("main").trials
    assert rules.patience_s == rules.timeout_s + 18 * 3600


def test_a_file_without_classes_has_one_for_all() -> None:
    start, end = SMALL.index("classes"), SMALL.index("workloads")
    fleet = read(SMALL[:start] + SMALL[end:])
    assert class_of(fleet.classes, inventory()) == "all"
    assert fleet.classes_of("main") == fleet.classes


@pytest.mark.parametrize(
    ("match", "inside"),
    [
        ({"labels": {"board": "a"}}, True),
        ({"labels": {"board": "a", "site": "north"}}, False),
        ({"soc": "*bcm2712"}, True),
        ({"soc": "BCM2712"}, False),
        ({"machine": "x86_64"}, True),
        ({"machine": "aarch64"}, False),
        ({"memory_bytes": {"at_least": 4_000_000_000}}, True),
        ({"memory_bytes": {"at_most": 3_999_999_999}}, False),
        ({"engines": ["litert", "onnxruntime"]}, True),
        ({"engines": ["tensorrt"]}, False),
        ({"labels": {"board": "a"}, "machine": "aarch64"}, False),
    ],
)
def test_matching(match: dict[str, Any], inside: bool) -> None:
    classes = [DeviceClass.model_validate({"name": "c", "match": match})]
    assert class_of(classes, inventory(labels={"board": "a"})) == ("c" if inside else None)


def test_a_cap_counts_as_the_memory() -> None:
    classes = [DeviceClass.model_validate({"name": "c", "match": {"memory_bytes": {"at_most": 1_000_000_000}}})]
    assert class_of(classes, inventory()) is None
    assert class_of(classes, inventory(memory_cap_bytes=500_000_000)) == "c"


def test_two_classes_for_one_device_are_a_fault_that_names_both() -> None:
    fleet = read(SMALL)
    with pytest.raises(ConfigurationError, match="'d-1' matches the classes 'a' and 'b'"):
        class_of(fleet.classes, inventory(labels={"board": "a"}, machine="aarch64"))


def test_a_class_narrows_the_engines() -> None:
    assert usable_engines(DeviceClass(name="c"), inventory()) == {"onnxruntime", "litert"}
    assert usable_engines(DeviceClass(name="c", engines=("litert", "x")), inventory()) == {"litert"}


def test_references(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("x")
    (tmp_path / "net").mkdir()
    fleet_file = tmp_path / "own.yaml"
    assert model_reference("leaf_outline@1", fleet_file) == ModelReference("leaf_outline", "1")
    assert model_reference("./net", fleet_file) == ModelReference(folder=tmp_path.resolve() / "net")
    with pytest.raises(NotFound, match="no folder at"):
        model_reference("../nowhere", fleet_file)
    with pytest.raises(ConfigurationError, match="NAME@VERSION"):
        model_reference("leaf_outline", fleet_file)


def test_variables_stand_over_the_file() -> None:
    broker = BrokerAddress().with_environment({"THRESHER_BROKER_PORT": "2883", "THRESHER_BROKER_HOST": "h", "X": "y"})
    assert (broker.host, broker.port) == ("h", 2883)
    with pytest.raises(ConfigurationError, match="THRESHER_BROKER_PORT"):
        BrokerAddress().with_environment({"THRESHER_BROKER_PORT": "many"})


def test_the_published_schema_is_current_and_describes_every_field() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text(), "run `python -m controller.config.schema`"
    definitions = json.loads(schema_text())["$defs"]
    for name, definition in definitions.items():
        for field, described in definition.get("properties", {}).items():
            assert described.get("description"), f"{name}.{field} has no docstring"
