"""The report: its keys, its numbers, its page."""

import json
import re
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from controller.errors import NotFound
from controller.report.build import build_report, latest_id
from controller.report.by_class.figure import class_figure
from controller.report.by_class.front import accuracy_latency_size_front
from controller.report.html import plain_json, render_html, size, wave_bars
from controller.report.trials import trial_row
from controller.store import deployments, devices, tables
from controller.store.database import Store
from controller.workspace import Workspace
from tests.unit.controller.report.store_rows import BUNDLES, DEPLOYMENT, DEVICES, HOSTILE, filled_store
from wire.base import encode
from wire.device_state import State
from wire.trial import Replicate, Samples, TrialRecord
from wire.update import Reported

HOST = {
    "name": "h",
    "processor": "Test CPU",
    "machine": "x86_64",
    "cores": 2,
    "memory_bytes": 2**33,
    "os": "Linux",
    "kernel": "6",
    "python": "3.11",
    "isa": ["avx512_vnni"],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = filled_store(tmp_path / "ws")
    yield opened
    opened.close()


def report_of(store: Store) -> dict[str, Any]:
    with store.read() as session:
        return build_report(session, DEPLOYMENT, HOST)


def test_top_level_keys(store: Store) -> None:
    product = {"fleet", "baseline", "variants", "trials", "fleetwide", "choices", "waves", "attested"}
    assert set(report_of(store)) == product | {"schema", "deployment", "conditions", "host"}


def test_it_is_json_without_infinities(store: Store) -> None:
    assert json.loads(json.dumps(report_of(store), allow_nan=False))["deployment"]["duration_s"] == 140.0


def test_every_variant_has_its_offline_numbers_or_its_error(store: Store) -> None:
    rows = {row["variant"]: row for row in report_of(store)["variants"]}
    assert rows["onnx-int8"]["offline"]["score"] == 0.975
    assert rows["onnx-int8"]["lineage"] == ["simplify()", "quantize_static(scheme=u8s8)"]
    assert rows["broken"]["error"] == "a pass crashed"
    assert report_of(store)["baseline"]["variant"] == "baseline"


def test_trials_hold_every_sample_and_their_conditions(store: Store) -> None:
    trial = report_of(store)["trials"][0]
    samples = trial["replicates"][0]["samples_ns"]["total_ns"]
    assert (len(samples), samples[0], trial["samples"]) == (100, 4_000_000, 100)
    summary = trial["summary"]
    assert (summary["p50_ms"], summary["p95_ms"]) == (pytest.approx(4.0495), 4.094)  # of 4.000, 4.001, ... 4.099
    assert (trial["grade"], trial["emulated"], trial["serving_lost_s"]) == ("quick", True, 4.5)
    assert (trial["conditions"], trial["replicates"][0]["conditions"]) == (
        {"processor": "test"},
        {"governor": "performance"},
    )


def test_choices_say_why_and_why_not(store: Store) -> None:
    single, small = report_of(store)["choices"]
    assert (single["variant"], single["rejected"]) == ("onnx-int8", {"baseline": "slower"})
    assert (small["device_class"], small["bundle"]) == ("small", BUNDLES["tflite-float"])


def test_waves_have_times_and_devices(store: Store) -> None:
    first, second = report_of(store)["waves"]
    assert (first["offered_s"], first["soak_from_s"], first["ended_s"]) == (195.0, 203.0, 213.0)
    assert [each["device"] for each in second["devices"]] == ["barn-2"]


def test_attested_is_what_devices_say(store: Store) -> None:
    rows = {row["device"]: row for row in report_of(store)["attested"]}
    assert set(rows) == set(DEVICES)
    assert (rows["barn-1"]["active"], rows["barn-1"]["as_chosen"]) == (BUNDLES["onnx-int8"], True)


def test_a_device_that_runs_another_bundle_is_not_as_chosen(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "ws")
    other = Reported(
        fleet="yard",
        device="barn-2",
        workload="main",
        gen=7,
        state=State.COMMITTED,
        active="f" * 64,
        boot_id="b1",
        seq=9,
        at_s=1.0,
    )
    with store.begin() as session:
        devices.record_report(session, other, now_s=300.0)
    rows = {row["device"]: row["as_chosen"] for row in report_of(store)["attested"]}
    assert rows == {"barn-1": True, "barn-2": False, "pump-1": True}


def test_emulated_classes_are_called_so(store: Store) -> None:
    report = report_of(store)
    assert report["conditions"]["emulated"] is True
    assert [group["emulated"] for group in report["fleet"]["classes"]] == [True, True]


def test_latest_and_unknown(store: Store) -> None:
    with store.read() as session:
        assert latest_id(session) == DEPLOYMENT
        with pytest.raises(NotFound, match="nowhere"):
            build_report(session, "nowhere", HOST)


@pytest.mark.parametrize("stage", ["requested", "failed"])
def test_a_deployment_that_made_nothing_does_not_hide_the_last_report(store: Store, stage: str) -> None:
    with store.begin() as session:
        _bare_deployment(session, "later", stage)
    with store.read() as session:
        assert latest_id(session) == DEPLOYMENT


def test_where_nothing_was_ever_made_the_newest_is_the_latest(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    workspace.create()
    store = Store.open(workspace)
    with store.begin() as session:
        for number, (name, stage) in enumerate((("older", "failed"), ("newer", "failed"), ("same", "up_to_date"))):
            _bare_deployment(session, name, stage, now_s=500.0 + number)
    with store.read() as session:
        assert latest_id(session) == "newer"


def _bare_deployment(session: Session, name: str, stage: str, now_s: float = 500.0) -> None:
    row = tables.Deployment(
        id=name, fleet="yard", workload="main", model="leaf", model_version="1", settings={"digest": "0"}
    )
    deployments.create(session, row, now_s=now_s)
    deployments.set_stage(session, name, stage, now_s=now_s)


def record_of(*replicates: tuple[int, tuple[str, ...]]) -> TrialRecord:
    """A record with 100 equal samples [ns] in each process."""
    nothing = Samples.pack([])
    return TrialRecord(
        fleet="yard", device="barn-1", trial="t", plan_gen=1, workload="main", bundle="a" * 64, variant="v",
        engine="onnxruntime", outcome="measured",
        replicates=tuple(
            Replicate(
                order=order, total_ns=Samples.pack([each] * 100), pre_ns=nothing, infer_ns=nothing, post_ns=nothing,
                warm_up_ns=nothing, flags=flags,
            )
            for order, (each, flags) in enumerate(replicates)
        ),
    )  # fmt: skip


def row_of(record: TrialRecord) -> dict[str, Any]:
    names = ("trial", "fleet", "device", "workload", "variant", "bundle", "control", "outcome")
    known = {name: getattr(record, name) for name in names}
    row = tables.Trial(
        **known, deployment="d", device_class="single", stage="received", request={}, asked_s=1.0, received_s=2.0,
        record=zlib.compress(encode(record)),
    )  # fmt: skip
    return trial_row(row)


def test_means_of_several_calls_have_no_p95() -> None:
    row = row_of(record_of((1_000_000, ("mean_of_k=8",)), (1_000_000, ("mean_of_k=8",))))
    assert (row["summary"]["p50_ms"], row["summary"]["p95_ms"]) == (pytest.approx(1.0), None)


def test_a_replaced_process_is_shown_and_does_not_count() -> None:
    row = row_of(record_of((9_000_000, ("replaced",)), (1_000_000, ())))
    assert (row["summary"]["p50_ms"], row["summary"]["p95_ms"]) == (pytest.approx(1.0), 1.0)
    assert (row["samples"], len(row["replicates"])) == (100, 2)


def test_the_drawn_front_is_of_accuracy_latency_and_size() -> None:
    def row(variant: str, score: float | None, p50_ms: float, wire_bytes: int, **more: Any) -> dict[str, Any]:
        return {"variant": variant, "score": score, "p50_ms": p50_ms, "wire_bytes": wire_bytes, **more}

    rows = [
        row("accurate", 0.98, 4.0, 900),
        row("small", 0.95, 3.0, 100),
        row("beaten", 0.95, 3.0, 101),
        row("fast", 0.95, 1.0, 500),
        row("fast-again", 0.95, 1.0, 500),
        row("void", 0.99, 0.1, 1, excluded="void on barn-1: throttled"),
        row("unscored", None, 0.1, 1),
    ]
    assert accuracy_latency_size_front(rows) == ["fast", "fast-again", "small", "accurate"]
    assert accuracy_latency_size_front([]) == []


def test_the_line_goes_through_the_front_by_latency(store: Store) -> None:
    choice = report_of(store)["choices"][0]
    assert choice["front_accuracy_latency_size"] == ["onnx-int8", "baseline"]  # faster; more accurate
    assert choice["front"] == ["onnx-int8"]  # the goals' own
    figure = class_figure(choice, {})
    assert figure is not None
    assert (figure["data"][0]["x"], figure["data"][0]["y"]) == ([1.0, 4.0], [0.975, 0.979])


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_needs_nothing_else(store: Store) -> None:
    page = Page(render_html(report_of(store)))
    loaded = [attrs[key] for tag, attrs in page.tags for key in ("src", "href") if tag != "a" and attrs.get(key)]
    assert loaded == []
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_page_shows_choices_and_devices(store: Store) -> None:
    words = " ".join(Page(render_html(report_of(store))).text)
    for expected in (
        "onnx-int8",
        "barn-2",
        "emulated",
        "Test CPU",
        "faster",
        "a pass crashed",
        "smallest latency",
        "quick grade",
    ):
        assert expected in words, expected


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    store = filled_store(tmp_path / "ws", because=HOSTILE, error=HOSTILE)
    report = report_of(store)
    report["variants"][1]["lineage"] = [HOSTILE]
    for row in report["choices"][0]["measured"]:
        row["variant"] = row["variant"] + HOSTILE
    page = render_html(report)
    plain = page[: page.index('id="figures"')]  # before plotly's own script
    assert "<script>alert" not in plain
    assert "<img" not in plain
    figures = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)
    assert figures is not None
    assert "<" not in figures[1]
    drawn = json.dumps(json.loads(figures[1]))
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn


def test_json_in_a_script_element_cannot_end_it() -> None:
    text = "</script><!-- & \u2028"
    assert json.loads(plain_json([text])) == [text]
    assert not set("<>&\u2028") & set(plain_json([text]))


def test_wave_bars_share_one_scale(store: Store) -> None:
    bars = wave_bars(report_of(store))
    assert [(bar["row"], bar["kind"]) for bar in bars] == [
        ("wave 1", "offer"),
        ("wave 1", "soak and gate"),
        ("wave 2", "offer"),
        ("wave 2", "soak and gate"),
    ]
    assert bars[0]["from"] == 0
    assert bars[-1]["from"] + bars[-1]["width"] == pytest.approx(1)


@pytest.mark.parametrize(("count", "text"), [(None, "-"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**30, "3.0 GiB")])
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text
