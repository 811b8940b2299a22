"""Metrics: what the database and the devices say comes out under the right names, once, with bounded labels."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from controller.export.catalogue import CATALOGUE, PER_DEVICE
from controller.export.classes import ClassLabels
from controller.export.collector import ControllerCollector
from controller.export.health import Health
from controller.export.snapshot import Snapshots
from controller.export.totals import BOUNDS_S, Totals
from controller.store.database import Store
from tests.unit.controller.export.export_kit import (
    FLEET,
    NOW_S,
    StillService,
    add_device,
    add_rollout,
    fleet_file,
    inventory,
    lead,
    metrics,
    new_store,
)


class Scraped:
    """A collector over a small fleet, and what a scrape of it gives."""

    def __init__(self, folder: Path, most_devices: int = 0) -> None:
        self.store = new_store(folder)
        self.service = StillService()
        lead(self.store, self.service.owner)
        self.now_s = 0.0
        classes = ClassLabels({FLEET: fleet_file()})
        self.snapshots = Snapshots(
            self.store, [FLEET], classes, most_devices=most_devices, clock=lambda: NOW_S, monotonic=lambda: self.now_s
        )
        self.collector = ControllerCollector(
            self.service,
            Health(self.service, self.store),
            self.snapshots,
            classes,
            version="1.2",
            database_url=self.store.url,
        )
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self.collector)

    def scrape(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Return sample name -> labels -> value, read as Prometheus reads it."""
        self.now_s += 60.0
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(generate_latest(self.registry).decode()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found


def labelled(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name.rstrip("_"), value) for name, value in labels.items()))


@pytest.fixture
def scraped(tmp_path: Path) -> Scraped:
    return Scraped(tmp_path)


def test_an_empty_workspace_has_its_own_numbers_only(scraped: Scraped) -> None:
    found = scraped.scrape()
    assert found["thresher_build_info"] == {labelled(version="1.2"): 1.0}
    assert found["thresher_broker_connected"] == {(): 1.0}
    assert found["thresher_leader"] == {(): 1.0}
    assert found["thresher_database_writable"] == {(): 1.0}
    assert found["thresher_database_size_bytes"][()] > 1000
    assert "thresher_devices" not in found


def test_devices_are_counted_by_class_and_state(scraped: Scraped) -> None:
    for device, board in (("a-1", "small"), ("a-2", "small"), ("b-1", "large"), ("c-1", "unknown")):
        add_device(scraped.store, device, board)
    add_device(scraped.store, "a-3", "small", online=False)
    found = scraped.scrape()
    assert found["thresher_devices"] == {
        labelled(fleet=FLEET, class_="small", state="online"): 2.0,
        labelled(fleet=FLEET, class_="small", state="offline"): 1.0,
        labelled(fleet=FLEET, class_="large", state="online"): 1.0,
        labelled(fleet=FLEET, class_="none", state="online"): 1.0,
    }
    small = {"fleet": FLEET, "class_": "small"}
    assert found["thresher_workload_devices"][labelled(**small, workload="main", state="committed")] == 2.0
    assert found["thresher_temperature_max_celsius"][labelled(**small)] == 53.0
    assert found["thresher_throttled_devices"][labelled(**small)] == 1.0
    assert found["thresher_last_seen_age_seconds"][labelled(**small)] == 30.0
    assert found["thresher_worker_memory_max_bytes"][labelled(**small, workload="main")] == 5e6
    assert found["thresher_devices_simulated"] == {labelled(fleet=FLEET): 0.0}


def test_no_label_names_a_device_unless_that_was_asked_for(tmp_path: Path) -> None:
    silent, telling = Scraped(tmp_path / "silent"), Scraped(tmp_path / "telling", most_devices=2)
    for each in (silent, telling):
        for number in range(4):
            add_device(each.store, f"a-{number}", "small")
    assert not set(silent.scrape()) & set(PER_DEVICE)
    found = telling.scrape()
    assert sorted(dict(labels)["device"] for labels in found["thresher_device_online"]) == ["a-0", "a-1"]
    assert found["thresher_devices_left_out"] == {labelled(fleet=FLEET): 2.0}


def test_what_devices_tell_is_counted_under_their_class(scraped: Scraped) -> None:
    add_device(scraped.store, "a-1", "small")
    scraped.collector.hear(metrics("a-1", 3.0, 4.0, 40.0, errors=1, restarts=2, lost=5))
    scraped.collector.hear(metrics("a-1", 4.0, seq=2))
    found = scraped.scrape()
    main = labelled(fleet=FLEET, class_="small", workload="main")
    assert found["thresher_queries_total"][main] == 4.0
    assert found["thresher_query_errors_total"][main] == 1.0
    assert found["thresher_queries_lost_total"][main] == 5.0
    assert found["thresher_worker_restarts_total"][main] == 2.0
    assert found["thresher_inference_duration_seconds_count"][main] == 4.0
    assert found["thresher_inference_duration_seconds_sum"][main] == pytest.approx(0.051)
    buckets = {
        dict(labels)["le"]: value for labels, value in found["thresher_inference_duration_seconds_bucket"].items()
    }
    assert (buckets["0.0025"], buckets["0.005"], buckets["0.025"], buckets["0.05"]) == (0.0, 3.0, 3.0, 4.0)
    assert buckets["+Inf"] == 4.0


def test_names_from_the_network_make_no_labels(scraped: Scraped) -> None:
    add_device(scraped.store, "a-1", "small")
    for number in range(50):
        scraped.collector.hear(metrics("a-1", 1.0, workload=f"made-up-{number}"))
    assert set(scraped.scrape()["thresher_queries_total"]) == {labelled(fleet=FLEET, class_="small", workload="other")}


def test_an_inventory_that_changes_changes_the_class() -> None:
    classes = ClassLabels({FLEET: fleet_file()})
    assert classes.known(FLEET, "d") is None
    assert classes.of(FLEET, "d", inventory("d", "small").model_dump(mode="json")) == "small"
    assert classes.of(FLEET, "d", inventory("d", "large").model_dump(mode="json")) == "large"
    assert classes.of(FLEET, "d", {"labels": 3}) == "none"
    assert classes.of("elsewhere", "d", inventory("d", "small").model_dump(mode="json")) == "none"


def test_rollouts_are_told_by_state_and_the_newest_in_detail(scraped: Scraped) -> None:
    add_rollout(scraped.store, "r-1", "rolled_back", {"a": "failed"}, 100.0)
    add_rollout(scraped.store, "r-2", "soak", {"a": "failed", "b": "committed", "c": "committed", "d": None}, 400.0)
    found = scraped.scrape()
    main = {"fleet": FLEET, "workload": "main"}
    assert found["thresher_rollouts"] == {
        labelled(**main, state="rolled_back"): 1.0,
        labelled(**main, state="soak"): 1.0,
    }
    assert found["thresher_rollout_devices"] == {
        labelled(**main, outcome="failed"): 1.0,
        labelled(**main, outcome="committed"): 2.0,
        labelled(**main, outcome="pending"): 1.0,
    }
    assert found["thresher_rollout_failure_ratio"] == {labelled(**main): pytest.approx(1 / 3)}
    assert found["thresher_rollout_wave"] == {labelled(**main): 1.0}
    assert found["thresher_rollout_age_seconds"] == {labelled(**main): 600.0}
    assert found["thresher_rollout_idle_seconds"] == {labelled(**main): 590.0}


def test_messages_are_told_by_what_became_of_them(scraped: Scraped) -> None:
    scraped.service.counts = Counter({"metrics": 5, "metrics.malformed": 2, "failed": 1})
    scraped.service.published_bytes = Counter({"a" * 64: 10, "b" * 64: 5})
    found = scraped.scrape()
    assert found["thresher_messages_total"] == {
        labelled(kind="metrics", result="taken"): 5.0,
        labelled(kind="metrics", result="malformed"): 2.0,
        labelled(kind="failed", result="taken"): 1.0,
    }
    assert found["thresher_published_bytes_total"] == {(): 15.0}


def test_the_database_is_read_once_however_many_scrape(scraped: Scraped, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda self: reads.append(1) or read(self))  # type: ignore[func-returns-value]
    first = scraped.snapshots.get()
    assert scraped.snapshots.get() is first
    scraped.now_s += 6.0
    assert scraped.snapshots.get() is not first
    assert len(reads) == 2


def test_a_database_that_fails_leaves_the_process_own_numbers(scraped: Scraped) -> None:
    add_device(scraped.store, "a-1", "small")
    with scraped.store.begin() as session:
        from sqlalchemy import text

        session.execute(text("DROP TABLE reported"))
    found = scraped.scrape()
    assert "thresher_devices" not in found
    assert found["thresher_broker_connected"] == {(): 1.0}


def test_every_family_keeps_the_conventions() -> None:
    for name, kind in CATALOGUE.items():
        assert name.startswith("thresher_")
        assert (kind.kind == "counter") == name.endswith("_total"), name
        assert kind.help.endswith(".")
        assert not name.endswith(("_ms", "_mb", "_percent", "_minutes"))


def test_everything_that_is_scraped_is_in_the_catalogue(tmp_path: Path) -> None:
    scraped = Scraped(tmp_path, most_devices=1)
    for number in range(2):
        add_device(scraped.store, f"a-{number}", "small")
    add_rollout(scraped.store, "r-1", "completed", {"a-1": "committed"}, 1.0)
    scraped.collector.hear(metrics("a-1", 1.0))
    scraped.service.counts = Counter({"metrics": 1})
    known = {series for kind in CATALOGUE.values() for series in kind.series}
    found = set(scraped.scrape())
    assert found <= known
    assert known - found == {"thresher_deployments"}  # there is none


def test_promtool_finds_nothing_to_say_of_a_scrape(scraped: Scraped) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs Debian's package prometheus: no promtool is here")
    add_device(scraped.store, "a-1", "small")
    add_rollout(scraped.store, "r-1", "completed", {"a-1": "committed"}, 1.0)
    scraped.collector.hear(metrics("a-1", 1.0))
    text = generate_latest(scraped.registry)
    said = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (said.returncode, said.stderr) == (0, b"")


def test_histograms_take_any_sketch() -> None:
    totals = Totals()
    collapsed: Any = metrics("a-1", *(1.5**power for power in range(-10, 60))).workloads[0]
    totals.add((FLEET, "small", "main"), collapsed)
    (row,) = totals.rows().values()
    assert sum(row.latencies) == 70
    assert row.latencies[len(BOUNDS_S)] > 20  # above 10 s
