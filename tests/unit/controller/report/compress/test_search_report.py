"""The report of a search: what the page shows, what is claimed, and that no name reaches it unescaped."""

import json
from math import inf
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.choose.intervals.loss import Claim
from controller.choose.paired import LossBound
from controller.compress.recipe import Recipe
from controller.compress.search.classes.measurer import Reading
from controller.compress.search.finish import Final
from controller.compress.search.study import ClassTime
from controller.compress.search.table.checked import Checked
from controller.compress.search.timing.clock import Laps
from controller.report.compress.build import loss_of, p50_of
from controller.report.compress.fleet import Measured, fleet_part
from controller.report.compress.page import figure_of, final_rows, render_search, tried_rows
from controller.report.compress.write import write_search
from tests.unit.controller.compress.search.spaces import recipe, row

EVIL = "</script><b>x"


def document(pick: str | None = "onnx-fast") -> dict[str, Any]:
    """Return a document of two variants, one of them failed and with a hostile name."""
    fast = {
        "variant": "onnx-fast", "outcome": "timed", "because": "", "seed": True, "lineage": ["simplify()"],
        "loss": 0.001,
        "score": 0.95, "sqnr_db": 30.0, "ratio": 0.5, "speed_like": "", "wire_ratio": 0.25, "wire_bytes": 250,
        "disk_bytes": 300, "parameters": 10, "macs": 100, "quantised_ratio": 1.0, "cached": False, "wall_s": 2.0,
        "notes": [], "recipe": {}, "speed_up": 2.0, "p50_ms": 1.0, "smaller": 4.0, "on_front": True,
    }  # fmt: skip
    failed = dict.fromkeys(fast) | {
        "variant": EVIL, "outcome": "failed", "because": EVIL, "lineage": [], "seed": False, "speed_like": "",
        "wall_s": 1.0, "on_front": False,
    }  # fmt: skip
    control = {
        "variant": "baseline", "control": True, "engine": "onnxruntime", "lineage": [], "trained": False, "recipe": {},
        "score": 0.96, "samples": 100, "loss": None, "validation_loss": 0.0, "p50_ms": 2.0, "p50_lower_ms": 1.9,
        "p50_upper_ms": 2.1, "speed_up": None, "wire_bytes": 1000, "peak_memory_bytes": 2**20, "parameters": 10,
    }  # fmt: skip
    final = control | {
        "variant": "onnx-fast", "control": False, "score": 0.955, "validation_loss": 0.001, "p50_ms": 1.0,
        "p50_lower_ms": 0.9, "p50_upper_ms": 1.1, "speed_up": {"ratio": 2.0, "lower": 1.9, "upper": 2.1},
        "wire_bytes": 250, "loss": {"text": "no difference shown"}, "lineage": ["simplify()"],
        "recipe": {"version": 1, "name": "fast", "formats": ["onnx"], "passes": [{"simplify": {}}]},
    }  # fmt: skip
    return {
        "schema": 1, "what": "search", "created_s": 0.0, "model": {"identity": f"m@1{EVIL}"}, "score_name": "accuracy",
        "host": {"processor": "p", "cores": 2, "machine": "x", "memory_bytes": 1, "isa": [], "os": "o", "kernel": "k",
                 "python": "3"},
        "search": {"budget_s": 60.0, "most_variants": None, "seconds": 50.0, "because": "the time is over", "tried": 2,
                   "tried_in_this_run": 2, "cut_off": 0, "outcomes": {"timed": 1, "failed": 1}, "limit_ratio": 0.01,
                   "seed": 0, "workers": 1, "space": {"weights": ["none", EVIL]}, "dropped": {"prune": EVIL},
                   "samples": {"training": 60, "calibration": 60, "validation": 40, "evaluation": 100}},
        "baseline": {"variant": "baseline", "validation_score": 0.97, "evaluation_score": 0.96, "p50_ms": 2.0,
                     "wire_bytes": 1000, "peak_memory_bytes": 2**20},
        "variants": [fast, failed], "front": ["onnx-fast"], "knee": "onnx-fast", "pick": pick, "because": EVIL,
        "decided_on": "bound", "rejected": {"baseline": EVIL}, "finals": [control, final], "warnings": [EVIL],
        "fleet": None,
        "reproduce": None,
    }  # fmt: skip


def test_the_page_shows_everything_and_no_name_gets_out_of_its_place() -> None:
    page = render_search(document())
    assert "onnx-fast" in page
    assert "2\u00d7 faster" in page
    assert "</script><b>" not in page
    assert page.count("&lt;/script&gt;&lt;b&gt;x") >= 5


def test_figures_hold_all_that_was_timed_and_the_front_on_the_evaluation_samples() -> None:
    given = document()
    assert [row["score"] for row in tried_rows(given)] == [0.97, 0.95]
    assert [row["score"] for row in final_rows(given)] == [0.96, 0.955]
    figure = figure_of(given, tried_rows(given))
    assert figure is not None
    points = {text for trace in figure["data"] for text in trace.get("hovertext", ())}
    assert any("onnx-fast" in text and "simplify()" in text for text in points)
    assert any("baseline" in text for text in points)


def test_the_page_shows_what_each_class_takes_and_how_well_times_were_guessed() -> None:
    fast = row(recipe("fast", {"simplify": {}}), classes={"pi": ClassTime(0.5, "measured", 2.0)}, loss=0.001)
    over = row(recipe("wide", {"simplify": {}}), classes={"pi": ClassTime(0.9, "host")})
    found = Measured(
        "yard", "main", "devices", 20.0, 3.5, ("pi", "jetson"), {"pi": Checked(4, because=f"four graphs {EVIL}")},
        {("pi", "onnx-fast"): Reading(0.5, 4.0, ("pi-1",)), ("pi", "onnx-wide"): Reading(because=EVIL, lacking=True)},
    )  # fmt: skip
    part = fleet_part(found, [fast, over])
    pi, jetson = part["classes"]["pi"], part["classes"]["jetson"]
    assert (pi["pick"], pi["ratio"], pi["p50_ms"], pi["control_ms"], pi["measured"]) == ("onnx-fast", 0.5, 2.0, 4.0, 1)
    assert (jetson["pick"], jetson["because"]) == (None, "nothing was measured in this class")
    assert pi["not_measured"] == {"onnx-wide": EVIL}
    page = render_search({**document(), "fleet": json.loads(json.dumps(part, allow_nan=False))})
    assert "What the devices of yard measured" in page
    assert "3.5 of 20 device-minutes" in page
    assert "pi-1" in page
    assert "</script><b>" not in page


def test_a_page_without_a_pick_says_so() -> None:
    assert "no variant" in render_search(document(pick=None))


def test_files_are_written_with_a_recipe_that_loads_and_the_line_that_takes_it(tmp_path: Path) -> None:
    whole, files = write_search(document(), tmp_path / "r")
    assert json.loads(files.json.read_text()) == whole
    path = files.recipes["onnx-fast"]
    assert Recipe.model_validate(yaml.safe_load(path.read_text())).name == "fast"
    assert whole["reproduce"].endswith(f"--recipe {path}")
    assert whole["reproduce"].startswith("controller model compress m@1")


def test_times_and_speed_ups_agree_however_the_host_drifted() -> None:
    variant: Any = object()
    judged: Any = object()
    baseline = Final(variant, None, judged, Laps((1e6, 4e6), (1.0, 1.0)), variant)
    row: Any = object()
    other = Final(variant, row, judged, Laps((0.5e6, 2e6), (0.5, 0.5)), variant)
    assert p50_of(baseline, baseline).value == pytest.approx(2e6)
    assert p50_of(other, baseline).value == pytest.approx(1e6)
    assert p50_of(other, baseline).upper == pytest.approx(1e6)
    once = Final(variant, row, judged, Laps((0.5e6,), (0.5,)), variant)
    assert (p50_of(once, baseline).lower, p50_of(once, baseline).upper) == (0.0, inf)


def claimed(lost: float, upper: float, smallest: float, says: Any = "no_difference_shown") -> Claim:
    return Claim(says, "as seen", LossBound(lost, upper, 0.95, "exact"), -0.01, smallest)


@pytest.mark.parametrize(
    ("claim", "keeps", "text"),
    [
        (claimed(0.001, 0.009, 0.005), True, "as seen"),
        (claimed(0.001, 0.011, 0.005), False, "as seen"),
        (claimed(0.000, 0.0123, 0.0123), None, "no claim that the limit of 0.0100 is kept: the smallest loss that"),
        (Claim("refused", "all 9 samples are of one class", None, None, 0.3), None, "all 9 samples are of one class"),
        (claimed(0.0, 0.3, 0.3, "refused"), None, "as seen"),
    ],
)
def test_a_claim_is_made_only_where_the_samples_could_show_it(claim: Claim, keeps: bool | None, text: str) -> None:
    found = loss_of(claim, 0.01)
    assert found is not None
    assert found["keeps_limit"] is keeps
    assert found["text"].startswith(text)
    assert loss_of(None, 0.01) is None
