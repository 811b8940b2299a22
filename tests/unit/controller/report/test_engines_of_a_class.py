"""A class's engines side by side in the report."""

from pathlib import Path
from typing import Any

from controller.report.build import build_report
from controller.report.by_class.engines import engines_side_by_side, with_engines
from controller.report.html import render_html
from tests.unit.controller.report.store_rows import DEPLOYMENT, filled_store
from tests.unit.controller.report.test_report import HOST

ENGINES = {"baseline": "onnxruntime", "onnx-int8": "onnxruntime", "tflite-int8": "litert", "tflite-float": "litert"}


def row(variant: str, p50_ms: float | None, excluded: str | None = None) -> dict[str, Any]:
    speed_up = None if p50_ms is None else {"ratio": 4 / p50_ms, "lower": 3 / p50_ms, "upper": 5 / p50_ms}
    return {"variant": variant, "p50_ms": p50_ms, "speed_up": speed_up, "score": 0.97, "excluded": excluded}


def choice_of(winner: str, *rows: dict[str, Any], **rejected: str) -> dict[str, Any]:
    return {"variant": winner, "rejected": rejected, "measured": with_engines(rows, ENGINES)}


def test_each_engine_is_shown_by_its_fastest_and_the_fastest_engine_comes_first() -> None:
    rows = [row("baseline", 4.0), row("onnx-int8", 1.0), row("tflite-int8", 2.0), row("tflite-float", 3.0)]
    found = engines_side_by_side(choice_of("onnx-int8", *rows, **{"tflite-int8": "slower than onnx-int8"}))
    assert [(each["engine"], each["variant"], each["measured"]) for each in found] == [
        ("onnxruntime", "onnx-int8", 2),
        ("litert", "tflite-int8", 2),
    ]
    assert [each["chosen"] for each in found] == [True, False]
    assert found[1]["because"] == "slower than onnx-int8"
    assert found[1]["speed_up"]["ratio"] == 2.0


def test_the_chosen_variant_stands_for_its_engine_though_another_is_faster() -> None:
    rows = [row("baseline", 4.0), row("tflite-int8", 1.0), row("tflite-float", 1.1)]
    (first, _) = engines_side_by_side(choice_of("tflite-float", *rows))
    assert (first["variant"], first["chosen"]) == ("tflite-float", True)


def test_an_engine_of_which_nothing_counts_says_why() -> None:
    rows = [row("baseline", 4.0), row("tflite-int8", 1.0, excluded="void: throttled"), row("tflite-float", None)]
    found = engines_side_by_side(choice_of("baseline", *rows))
    assert (found[-1]["engine"], found[-1]["variant"], found[-1]["because"]) == ("litert", None, "void: throttled")


def test_the_report_and_its_page_show_both_engines_of_a_class(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "ws", both_engines=True)
    with store.read() as session:
        report = build_report(session, DEPLOYMENT, HOST)
    store.close()
    single, small = report["choices"]
    assert {each["engine"] for each in single["engines"]} == {"onnxruntime", "litert"}
    assert [each["engine"] for each in small["engines"]] == ["litert"]
    page = render_html(report)
    assert page.count('<table class="engines">') == 1
    assert "slower than onnx-int8" in page
