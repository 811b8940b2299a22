"""Rounds: the best of many are measured, the rest are estimated, minutes are kept, nothing is measured twice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.compress.search.classes import rounds
from controller.compress.search.classes.measurer import Reading, Readings, Subject
from controller.compress.search.classes.rounds import Rounds
from controller.compress.search.loop import Tried
from controller.compress.search.study import Row
from controller.compress.search.table.fit import Trained
from controller.compress.search.table.shelf import Shelf
from tests.unit.controller.compress.search.spaces import point


class Devices:
    """Measures at once; a variant's ratio is in `times`, one that is not there lacks the engine."""

    def __init__(self, times: Mapping[str, float], minutes: float = 100.0, *classes: str) -> None:
        self.classes = classes or ("pi",)
        self.minutes_left, self._times = minutes, times
        self.asked: list[tuple[str, list[str]]] = []
        self.before: Readings = {}
        self.away = False

    def cost(self, _: str, variants: int) -> float:
        return 1.0 + variants

    def known(self) -> Readings:
        return dict(self.before)

    def measure(self, wanted: Mapping[str, Sequence[Subject]]) -> Readings:
        found: Readings = {}
        for name, subjects in wanted.items():
            names = [each.variant.name for each in subjects]
            self.asked.append((name, names))
            if self.away:
                found |= {(name, each): Reading(because="pi-1 went away", again=True) for each in names}
                continue
            self.minutes_left -= self.cost(name, len(names))
            for each in names:
                ratio = self._times.get(each)
                lacking = Reading(because="engine litert is not there", lacking=True)
                found[name, each] = lacking if ratio is None else Reading(ratio, 4.0, ("pi-1",))
        return found


def tried(*rows: Row) -> list[Tried]:
    return [Tried(SimpleNamespace(), row, finding(row)) for row in rows]  # type: ignore[arg-type]


def finding(row: Row) -> Any:
    variant = SimpleNamespace(name=row.variant, format="none", engine="onnxruntime", model_file=None, precision="")
    return SimpleNamespace(variant=variant, results=(SimpleNamespace(golden_outputs=None),))


def timed(name: str, host: float, graph: str = "") -> Row:
    return point(name, 0.0, host, 0.5, speed_key=graph or name)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes the rounds of a search on devices."""
    bench: Any = SimpleNamespace(model=SimpleNamespace(identity="leaf@1"))
    by_recipe = lambda recipe, _: finding(SimpleNamespace(variant=f"onnx-{recipe.name}"))  # type: ignore[arg-type]  # noqa: E731
    monkeypatch.setattr(rounds, "examine", by_recipe)
    return lambda devices, **fields: Rounds(devices, Shelf(tmp_path / "table.jsonl"), bench, **fields)


def by(rows: Sequence[Row], name: str = "pi") -> dict[str, tuple[str, float | None]]:
    return {row.variant.removeprefix("onnx-"): (row.classes[name].by, row.classes[name].ratio) for row in rows}


def test_the_most_promising_are_measured_and_the_rest_have_the_hosts_time(made: Any) -> None:
    devices = Devices({f"onnx-{name}": 0.5 for name in "abcde"})
    found = made(devices).settle(tried(*(timed(name, 0.2 + 0.1 * place) for place, name in enumerate("abcde"))))
    assert devices.asked == [("pi", ["onnx-a", "onnx-b", "onnx-c"])]
    assert by(found) == {
        "a": ("measured", 0.5), "b": ("measured", 0.5), "c": ("measured", 0.5),
        "d": ("host", pytest.approx(0.5)), "e": ("host", pytest.approx(0.6)),
    }  # fmt: skip


def test_what_does_not_keep_the_limit_costs_no_minute(made: Any) -> None:
    devices = Devices({})
    over = replace(point("over", 0.2, 0.1, 0.1, outcome="over_limit"), ratio=None)
    assert made(devices).settle(tried(over)) == [over]
    assert devices.asked == []


def test_equal_graphs_are_measured_once(made: Any) -> None:
    devices = Devices({"onnx-a": 0.4, "onnx-b": 0.4})
    found = made(devices).settle(tried(timed("a", 0.3, "same"), timed("b", 0.3, "same")))
    assert len(devices.asked[0][1]) == 1
    assert by(found) == {"a": ("measured", 0.4), "b": ("measured", 0.4)}


def test_the_graph_of_the_baseline_costs_no_minute(made: Any) -> None:
    devices = Devices({"onnx-a": 1.0})
    (row,) = made(devices).settle(tried(replace(timed("a", 1.0), speed_like="baseline")))
    assert devices.asked == []
    assert (row.classes["pi"].by, row.classes["pi"].ratio) == ("host", 1.0)


def test_a_round_takes_its_share_of_the_minutes_and_the_end_the_rest(made: Any) -> None:
    devices = Devices({f"onnx-{name}": 0.5 for name in "abcdefgh"}, 6.0)
    driven = made(devices)
    rows = [timed(name, 0.2 + 0.1 * place) for place, name in enumerate("abcdefgh")]
    found = driven.settle(tried(*rows[:4]))
    assert devices.asked == [("pi", ["onnx-a"])]  # a third of 6 minutes: the control and one variant
    driven.settle(tried(*rows[4:]))
    assert 6.0 - devices.minutes_left == sum(1 + len(names) for _, names in devices.asked)
    found = driven.close(rows)
    assert devices.minutes_left < 2.0
    assert sum(each[0] == "measured" for each in by(found).values()) == 3


def test_what_a_class_cannot_run_is_said_and_never_asked_again(made: Any) -> None:
    devices = Devices({"onnx-b": 0.7})
    driven = made(devices)
    (row, _) = driven.settle(tried(timed("a", 0.2), timed("b", 0.3)))
    assert (row.classes["pi"].by, row.classes["pi"].ratio) == ("nobody", None)
    assert row.classes["pi"].because == "engine litert is not there"
    driven.close([timed("a", 0.2), timed("b", 0.3)])
    assert [names for _, names in devices.asked] == [["onnx-a", "onnx-b"]]


def test_a_class_that_is_away_costs_nothing_and_is_asked_again_at_the_end(made: Any) -> None:
    devices = Devices({"onnx-a": 0.5})
    devices.away, driven = True, made(devices)
    (row,) = driven.settle(tried(timed("a", 0.2)))
    assert row.classes["pi"].by == "host"
    assert row.classes["pi"].because == "pi-1 went away"
    devices.away = False
    (row,) = driven.close([timed("a", 0.2)])
    assert row.classes["pi"].by == "measured"


def test_a_class_that_stays_away_ends_the_search_all_the_same(made: Any) -> None:
    devices = Devices({})
    devices.away = True
    (row,) = made(devices).close([timed("a", 0.2)])
    assert row.classes["pi"].by == "host"


def test_what_a_former_run_measured_is_not_measured_again(made: Any) -> None:
    devices = Devices({"onnx-b": 0.6})
    devices.before = {("pi", "onnx-a"): Reading(0.3, 4.0, ("pi-1",))}
    driven = made(devices)
    rows = [timed("a", 0.2, "same"), timed("b", 0.31), timed("c", 0.2, "same")]
    driven.take_up(rows[:1])
    found = driven.settle(tried(*rows))
    assert devices.asked == [("pi", ["onnx-b"])]
    assert by(found)["a"] == by(found)["c"] == ("measured", 0.3)


def test_driven_by_the_host_devices_measure_at_the_end_alone(made: Any) -> None:
    devices = Devices({"onnx-a": 0.5, "onnx-b": 0.6}, 100.0, "pi", "jetson")
    driven = made(devices, measures=False)
    assert driven.size == 1
    rows = driven.settle(tried(timed("a", 0.2)))
    assert devices.asked == []
    assert by(rows)["a"] == ("host", 0.2)
    found = driven.close([timed("a", 0.2), timed("b", 0.15)])
    assert by(found, "jetson")["b"] == ("measured", 0.6)


def test_a_table_that_has_shown_itself_better_takes_the_hosts_place(made: Any) -> None:
    """A class on which each query takes 2 ms more than the host says: the host's ratios make too much of speed."""
    hosts = {f"onnx-v{place}": 0.1 + 0.08 * place for place in range(12)}
    devices = Devices({name: (4.0 * host + 2.0) / 4.0 for name, host in hosts.items()}, 1000.0)
    driven = made(devices)
    rows = [timed(name.removeprefix("onnx-"), host) for name, host in hosts.items()]
    driven.close([*rows[:5], *rows[7:]])  # the fastest are on no front alone: they are measured by and by
    for row in rows[:5] + rows[7:]:
        point_ = Trained({"query": 1.0}, 4.0 * (row.ratio or 0), 4.0 * (row.ratio or 0) + 2.0, row.variant, 4.0)
        driven.shelf.keep("pi", f"leaf@1/{row.variant}", point_)
    driven._learn()
    assert driven.checked["pi"].trusted, driven.checked["pi"].because
    driven._subject(rows[6])
    (guess,) = driven.seen([rows[6]])
    assert guess.classes["pi"].by == "table"
    assert guess.classes["pi"].ratio == pytest.approx(hosts["onnx-v6"] + 0.5, rel=0.1)
