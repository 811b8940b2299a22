"""The section on the whole fleet: in the document, on the page, in the figure."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.report.build import build_report
from controller.report.fleetwide.figure import COLOURS, variance_figure
from controller.report.html import render_html
from controller.store.database import Store
from tests.unit.controller.report.fleet_rows import add_boards
from tests.unit.controller.report.store_rows import DEPLOYMENT, HOSTILE, filled_store
from tests.unit.controller.report.test_report import HOST, Page


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = filled_store(tmp_path / "ws")
    yield opened
    opened.close()


def report_of(store: Store) -> dict[str, Any]:
    with store.read() as session:
        return build_report(session, DEPLOYMENT, HOST)


def test_each_class_has_a_row_and_one_device_is_refused(store: Store) -> None:
    add_boards(store)
    rows = {row["device_class"]: row for row in report_of(store)["fleetwide"]}
    assert set(rows) == {"pi5", "single"}  # nobody of `small` sent a record
    assert rows["single"]["because"].startswith("only barn-1")
    assert rows["single"]["emulated"] is True
    assert [each["device"] for each in rows["pi5"]["outliers"]] == ["pi-3"]


def test_the_page_shows_numbers_outliers_and_remedies(store: Store) -> None:
    add_boards(store)
    page = render_html(report_of(store))
    words = " ".join(" ".join(Page(page).text).split())
    for expected in (
        "Over your fleet",
        "p95 over the fleet",
        "p95 without pi-3",
        "bad cooling",
        "heat sink",
        "only barn-1",
    ):
        assert expected in words, expected
    assert 'id="fleet-plot-0"' in page
    assert 'id="fleet-plot-1"' not in page  # the refused class has no figure
    figures = re.search(r'id="fleet-figures">(.*?)</script>', page, re.DOTALL)
    assert figures is not None
    drawn = json.loads(figures[1])
    assert [None if each is None else each["layout"]["barmode"] for each in drawn] == ["stack", None]


def test_hostile_names_stay_text(store: Store) -> None:
    add_boards(store, variant=HOSTILE[:100])
    page = render_html(report_of(store))
    plain = page[: page.index('id="figures"')]
    assert "<script>alert" not in plain
    assert "<img" not in plain
    figures = re.search(r'id="fleet-figures">(.*?)</script>', page, re.DOTALL)
    assert figures is not None
    assert "<" not in figures[1]
    assert "<script" not in json.dumps(json.loads(figures[1]))


def test_no_record_no_section(store: Store) -> None:
    report = report_of(store)
    report["fleetwide"] = []
    assert "No record came back." in render_html(report)


def test_bars_of_a_variant_fill_the_axis(store: Store) -> None:
    add_boards(store)
    row = next(each for each in report_of(store)["fleetwide"] if each["device_class"] == "pi5")
    figure = variance_figure(row)
    assert figure is not None
    assert [trace["marker"]["color"] for trace in figure["data"]] == list(COLOURS.values())
    totals = [sum(trace["x"][index] for trace in figure["data"]) for index in range(2)]
    assert totals == pytest.approx([100.0, 100.0])
    assert figure["data"][0]["y"] == ["int8", "fp32"]  # drawn from below
    assert variance_figure({"variants": []}) is None
