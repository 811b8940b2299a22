"""From records to the class: what counts, what is refused, who is named, and in which words."""

import json
import math
from typing import Any

import pytest

from controller.trial.fleetwide.document import class_document
from controller.trial.fleetwide.survey import ClassSurvey, survey_classes
from tests.unit.controller.trial.fleetwide.kit import loads, record, void
from wire.trial import Golden, Samples, ScenarioSettings, TrialRecord, Validity

HOT = {"after": {"temperatures_celsius": {"z:cpu": 84.0}, "throttled_bits": 0x60006}}
VARIANTS = {"fp32": 4.0, "int8": 1.0, "pruned": 2.0}


def fleet_of(*factors: float, **changes: Any) -> list[TrialRecord]:
    """Every variant on each device, the device slower by its factor."""
    return [
        record(f"pi-{number}", variant, factor * base, **changes)
        for number, factor in enumerate(factors)
        for variant, base in VARIANTS.items()
    ]


def survey_of(records: list[TrialRecord], hosts: dict[str, str] | None = None) -> ClassSurvey:
    (found,) = survey_classes([("pi5", record) for record in records], hosts)
    return found


def only(survey: ClassSurvey, variant: str) -> Any:
    return next(each for each in class_document(survey)["variants"] if each["variant"] == variant)


def test_a_class_in_numbers() -> None:
    survey = survey_of(fleet_of(1.0, 1.01, 1.02))
    found = only(survey, "int8")
    assert [each["variant"] for each in class_document(survey)["variants"]] == ["fp32", "int8", "pruned"]
    assert (found["devices"], found["processes"], found["queries"]) == (["pi-0", "pi-1", "pi-2"], 12, 720)
    assert found["p50_ms"]["value"] == pytest.approx(5.05, rel=0.02)
    assert found["p50_ms"]["value"] < found["p95_ms"]["value"] < found["p95_ms"]["upper"]
    assert found["speed_up"]["ratio"] == pytest.approx(4.0, rel=0.02)
    assert {part["name"] for part in found["variance"]} == {"device", "process", "time", "query"}
    assert sum(part["share_ratio"] for part in found["variance"]) == pytest.approx(1.0)
    assert only(survey, "fp32")["speed_up"] is None
    assert survey.findings == ()


def test_a_slow_device_is_named_with_cause_and_remedy_and_set_apart() -> None:
    records = fleet_of(1.0, 1.01, 1.02, 1.0, 0.99) + [
        record("pi-5", variant, 1.5 * base, readings=HOT) for variant, base in VARIANTS.items()
    ]
    document = class_document(survey_of(records))
    (found,) = document["outliers"]
    assert (found["kind"], found["device"], found["cause"]) == ("slow_device", "pi-5", "bad_cooling")
    assert (found["agreeing"], found["others"], found["certainty"]) == (2, 2, "likely")
    assert found["ratio"] == pytest.approx(1.5, rel=0.02)
    assert "slower than its class, by the control and 2 of 2 other variants: the device, not a model" in found["text"]
    assert "heat sink" in found["remedy"]
    assert document["set_apart"] == ["pi-5"]
    control = document["variants"][0]
    assert control["p95_without_slow_ms"]["value"] < control["p95_ms"]["value"]


def test_a_variant_slow_on_one_device_is_not_a_slow_device() -> None:
    records = fleet_of(1.0, 1.01, 1.02)
    records = [record("pi-1", "int8", 1.6) if (r.device, r.variant) == ("pi-1", "int8") else r for r in records]
    (found,) = class_document(survey_of(records))["outliers"]
    assert (found["kind"], found["device"], found["variant"]) == ("variant_there", "pi-1", "int8")
    assert found["ratio"] == pytest.approx(1.6 / 1.01, rel=0.02)
    assert "slower on pi-1 alone, beyond what the control is there" in found["text"]


def test_one_device_is_refused_with_the_reason() -> None:
    document = class_document(survey_of(fleet_of(1.0)))
    assert document["because"].startswith("only pi-0 has usable trials; how devices differ takes two or more")
    assert (document["variants"], document["outliers"]) == ([], [])


def test_void_records_count_nowhere_and_still_name_the_device() -> None:
    throttled = [
        record("pi-2", variant, 1.4 * base, readings=HOT, flags=void()) for variant, base in VARIANTS.items()
    ]  # fmt: skip
    survey = survey_of(fleet_of(1.0, 1.01) + throttled)
    assert survey.variants[0].devices == ("pi-0", "pi-1")
    assert [(each.kind, each.device, each.diagnosis.cause) for each in survey.findings] == [
        ("slow_device", "pi-2", "bad_cooling")
    ]
    alike = [record("pi-2", variant, base, flags=void("drift")) for variant, base in VARIANTS.items()]
    (found,) = survey_of(fleet_of(1.0, 1.01) + alike).findings
    assert (found.kind, found.device) == ("void", "pi-2")


def test_a_void_record_gives_way_to_the_one_that_was_measured_again() -> None:
    again = record("pi-0", "fp32", 9.0, trial="pi-0-fp32-void", flags=void())
    survey = survey_of([*fleet_of(1.0, 1.01), again])
    assert survey.findings == ()
    assert survey.variants[0].processes == 8


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "failed", "replicates": ()},
        {"golden": Golden(passed=False, samples=4)},
        {"validity": Validity(valid=False, reasons=("throttled",))},
        {"process_flags": ("replaced",)},
    ],
)
def test_what_does_not_count(changes: dict[str, Any]) -> None:
    survey = survey_of([*fleet_of(1.0, 1.01), record("pi-2", "fp32", 4.0, **changes)])
    assert survey.variants[0].devices == ("pi-0", "pi-1")
    assert all(each.kind != "slow_device" for each in survey.findings)


def test_two_devices_say_little_and_say_so() -> None:
    document = class_document(survey_of(fleet_of(1.0, 1.05)))
    assert any("2 devices say little" in note for note in document["notes"])
    assert document["variants"][0]["p95_ms"]["value"] > 0


def test_means_of_several_calls_have_no_p95_over_the_fleet() -> None:
    found = only(survey_of(fleet_of(1.0, 1.01, process_flags=("mean_of_k",))), "int8")
    assert found["p95_ms"] is None
    assert "59 single queries" in found["because"]
    assert found["p50_ms"]["value"] > 0


def test_a_variant_of_one_device_is_listed_with_the_reason() -> None:
    found = only(survey_of([*fleet_of(1.0, 1.01), record("pi-0", "rare")]), "rare")
    assert (found["p50_ms"], found["because"]) == (None, "only pi-0 has a usable trial of it")


def test_emulated_devices_get_no_cause_in_hardware() -> None:
    records = fleet_of(1.0, 1.01, 1.5, emulated=True, readings=HOT, cold_loads=loads(100.0), warm_loads=loads(20.0))
    document = class_document(survey_of(records))
    assert document["emulated"] is True
    assert any("share one processor" in note for note in document["notes"])
    assert [(each["device"], each["cause"]) for each in document["outliers"]] == [("pi-2", "shared")]
    assert "board" in document["outliers"][0]["remedy"]


def test_a_slow_card_is_named_though_answers_are_as_fast() -> None:
    records = [
        record(f"pi-{number}", "fp32", cold_loads=loads(cold), warm_loads=loads(20.0))
        for number, cold in enumerate((100.0, 110.0, 450.0))
    ]
    (found,) = class_document(survey_of(records))["outliers"]
    assert (found["kind"], found["device"], found["cause"]) == ("slow_loads", "pi-2", "slow_card")
    assert "cold load" in found["text"]


def test_offline_counts_time_per_query_and_has_no_tail() -> None:
    def offline(device: str, rate: float) -> TrialRecord:
        one = record(device, "fp32", scenario="offline")
        changed = tuple(each.model_copy(update={"queries_per_second": rate}) for each in one.replicates)
        return one.model_copy(update={"replicates": changed})

    found = only(survey_of([offline("pi-0", 100.0), offline("pi-1", 100.0)]), "fp32")
    assert found["p95_ms"] is None
    assert found["device_p50_ms"]["value"] == pytest.approx(10.0)


def test_ways_of_measuring_are_kept_apart() -> None:
    paced = fleet_of(1.0, 1.0, scenario="paced", settings=ScenarioSettings(period_ms=50.0))
    surveys = survey_classes([("b", each) for each in fleet_of(1.0, 1.0) + paced] + [("a", record("x", "fp32"))])
    assert [(each.device_class, each.way.scenario) for each in surveys] == [
        ("a", "single_stream"), ("b", "paced"), ("b", "single_stream"),
    ]  # fmt: skip


def test_a_sweep_over_threads_is_kept_apart_and_a_devices_own_number_is_not() -> None:
    swept = fleet_of(1.0, 1.0) + fleet_of(1.0, 1.0, threads=4)
    assert [each.way.threads for each in survey_classes([("b", each) for each in swept])] == [1, 4]
    own = [*fleet_of(1.0), record("pi-1", "fp32", 8.0, threads=2)]
    survey = survey_of(own)
    assert survey.way.threads is None
    assert [(each.device, each.diagnosis.cause) for each in survey.findings] == [("pi-1", "other_hardware")]


def test_measuring_beside_serving_is_kept_apart_and_labelled() -> None:
    beside = fleet_of(1.0, 1.0, conditions={"serving_policy": "coexist"})
    surveys = survey_classes([("b", each) for each in fleet_of(1.0, 1.0) + beside])
    assert [each.way.serving_policy for each in surveys] == ["coexist", "pause"]
    assert any("beside serving" in note for note in class_document(surveys[0])["notes"])


def test_devices_of_one_host_get_no_cause_in_hardware_either() -> None:
    records = fleet_of(1.0, 1.01, 1.5, readings=HOT)
    shared = survey_of(records, {f"pi-{number}": "h1" for number in range(3)})
    assert [each.diagnosis.cause for each in shared.findings] == ["shared"]
    assert "Devices of one host" in class_document(shared)["notes"][0]
    apart = survey_of(records, {"pi-0": "h1", "pi-1": "h1", "pi-2": "h2"})
    assert [each.diagnosis.cause for each in apart.findings] == ["bad_cooling"]


def test_without_a_control_nobody_is_blamed() -> None:
    records = [record(device, "int8", factor) for device, factor in (("a", 1.0), ("b", 1.0), ("c", 2.0))]
    survey = survey_of(records)
    assert (survey.findings, survey.factors) == ((), {})
    assert survey.variants[0].prediction is not None


def test_a_document_is_json_whatever_the_spread() -> None:
    wild = [record("a", "fp32"), record("b", "fp32", 5000.0)]
    document = json.loads(json.dumps(class_document(survey_of(wild)), allow_nan=False))
    assert document["variants"][0]["p95_ms"]["upper"] is None
    assert math.isfinite(document["variants"][0]["p95_ms"]["value"])


def test_a_record_of_one_sample_is_no_error() -> None:
    tiny = [
        one.model_copy(
            update={"replicates": (one.replicates[0].model_copy(update={"total_ns": Samples.pack([10**6])}),)}
        )
        for one in (record("a", "fp32"), record("b", "fp32"))
    ]
    found = only(survey_of(tiny), "fp32")
    assert found["p50_ms"]["value"] == pytest.approx(1.0)
    assert found["p95_ms"] is None
