"""Shipped rules and dashboard name metrics that exist; the documents list them all; promtool agrees where it is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.export.catalogue import CATALOGUE
from controller.export.server import DEFAULT
from tools.source import ROOT

PROMETHEUS = ROOT / "configs" / "prometheus"
RULES: dict[str, Any] = yaml.safe_load((PROMETHEUS / "thresher.rules.yml").read_text())
DASHBOARD: dict[str, Any] = json.loads((ROOT / "configs" / "grafana" / "thresher.json").read_text())
ALL_RULES = [rule for group in RULES["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in ALL_RULES if "record" in rule}
OF_PROCESSES = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
NAME = re.compile(r"\b(?:thresher|process)[_:][a-z0-9_:]*")
LABELS = re.compile(r"(thresher_\w+)\{([^}]*)\}")


def known() -> set[str]:
    return {series for kind in CATALOGUE.values() for series in kind.series} | RECORDED | OF_PROCESSES


def queries() -> Iterator[str]:
    """Yield every expression of the dashboard, those of its variables too."""
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]


def expressions() -> list[str]:
    return [*queries(), *(rule["expr"] for rule in ALL_RULES)]


@pytest.mark.parametrize("query", expressions())
def test_a_query_names_metrics_and_labels_that_exist(query: str) -> None:
    names = NAME.findall(query)
    assert names or query.startswith("up{")
    assert set(names) <= known()
    for name, labels in LABELS.findall(query):
        base = re.sub(r"_(?:bucket|count|sum)$", "", name)
        used = set(re.findall(r"(\w+)\s*(?:=|!)", labels))
        assert used <= {*CATALOGUE[base].labels, "le"}, query


def test_every_recorded_rule_and_most_metrics_are_on_the_dashboard() -> None:
    shown = {name for query in queries() for name in NAME.findall(query)}
    assert shown >= RECORDED
    assert len(shown & set(CATALOGUE)) >= 15


def test_panels_have_titles_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["title"] for panel in panels}) == len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


def test_alerts_say_what_to_do_and_are_in_the_documents() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    alerts = [rule for rule in ALL_RULES if "alert" in rule]
    assert len(alerts) >= 10
    for rule in alerts:
        assert f"`{rule['alert']}`" in page
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert len(rule["annotations"]["description"]) > 20


def test_the_documents_list_every_metric_as_it_is() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    for kind in CATALOGUE.values():
        assert f"| `{kind.name}` | {kind.kind} | {', '.join(kind.labels)} | {kind.help} |" in page


def test_the_scrape_configuration_asks_where_serve_answers() -> None:
    document = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (job,) = document["scrape_configs"]
    assert (job["job_name"], job["static_configs"][0]["targets"]) == ("thresher", [DEFAULT])
    assert all((PROMETHEUS / name).is_file() for name in document["rule_files"])


@pytest.mark.parametrize(("what", "name"), [("rules", "thresher.rules.yml"), ("config", "prometheus.yml")])
def test_promtool_accepts_what_is_shipped(what: str, name: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs Debian's package prometheus: no promtool is here")
    checked = subprocess.run(
        [promtool, "check", what, str(PROMETHEUS / name)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_shipped_files_are_installed() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for folder in ("configs/grafana", "configs/prometheus", "configs/simulator"):
        assert f'"share/thresher/{folder}" = ["{folder}/*"]' in project
        assert list(Path(ROOT / folder).iterdir())
