"""Trials as tables: columns, types, and files that are whole or not there."""

import csv
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import ConfigurationError, DiskFull
from controller.fleet.views import TrialView
from controller.trial.export import columns_of, export_samples, export_trials, flattened, sample_rows, trial_columns
from controller.trial.table_file import refuse_existing, write_table
from tests.unit.controller.trial.records import process, record, view
from wire.trial import Energy, Samples, ScenarioSettings


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_trial_is_one_row_with_units_in_its_columns() -> None:
    energy = Energy(source="rapl", seconds=10, queries=5, mean_w=3, idle_w=1, joules=20, joules_per_query=4)
    row = trial_columns(view(record(energy=energy, settings=ScenarioSettings(rate_hz=5.0))))
    assert row["p50_ms"] == pytest.approx(1.0, rel=0.01)
    assert row["p95_ms"] == pytest.approx(1.01)
    assert (row["memory_peak_bytes"], row["cold_load_ms"], row["energy_j"], row["setting_rate_hz"]) == (3, 44.0, 4, 5)
    assert row["condition_before_governor"] == "performance"
    assert row["condition_before_temperatures_celsius_cpu"] == 41.5
    assert (row["valid"], row["serving_policy"], row["samples"]) == (True, "pause", 500)


def test_a_trial_that_has_not_come_back_is_a_row_too(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    done = export_trials([view(record()), view(None, trial="t2")], path, "csv")
    first, second = read_csv(path)
    assert (done.rows, done.columns) == (2, len(first))
    assert (second["trial"], second["stage"], second["p50_ms"]) == ("t2", "asked", "")
    assert first["p50_ms"].startswith("0.9")
    assert first["control"] == "false"
    assert done.size_bytes == path.stat().st_size


def test_what_is_sustained_after_a_rise_is_a_column() -> None:
    rising = process(0, [1_000_000] * 6 + [2_000_000] * 3, "drift")
    assert trial_columns(view(record(replicates=(rising,))))["sustained_ms"] == pytest.approx(2.0)
    assert trial_columns(view(record(replicates=(rising,), scenario="offline")))["sustained_ms"] is None
    assert trial_columns(view(record()))["sustained_ms"] is None


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path, form: Any) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra 'export'")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        export_trials([view(record())], tmp_path / "file" / "t.csv", form)


def test_samples_are_rows_in_their_order(tmp_path: Path) -> None:
    waited = process(0, [5, 6, 7], wait_ns=Samples.pack([1, 2, 3]))
    made = record(replicates=(waited, process(1, [8], "replaced")))
    path = tmp_path / "s.csv"
    done = export_samples([view(made)], path, "csv")
    rows = read_csv(path)
    assert done.rows == len(rows) == 2 + 3 + 2 + 1
    assert [row["phase"] for row in rows[:3]] == ["warm_up", "warm_up", "timed"]
    timed = [row for row in rows if row["phase"] == "timed"]
    assert [(row["total_ns"], row["wait_ns"], row["cpu_ns"]) for row in timed[:3]] == [
        ("5", "1", ""), ("6", "2", ""), ("7", "3", ""),
    ]  # fmt: skip
    assert (timed[3]["process"], timed[3]["replaced"], timed[3]["wait_ns"]) == ("1", "true", "")


def test_parquet_has_the_types_and_the_values(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'export'")
    path = tmp_path / "t.parquet"
    export_trials([view(record()), view(None, trial="t2")], path, "parquet")
    table = parquet.read_table(path)
    kinds = {field.name: str(field.type) for field in table.schema}
    wanted = {
        "p50_ms": "double",
        "energy_j": "double",
        "memory_peak_bytes": "int64",
        "control": "bool",
        "error": "string",
    }
    assert {name: kinds[name] for name in wanted} == wanted
    assert table.column("trial").to_pylist() == ["t1", "t2"]
    assert table.column("memory_peak_bytes").to_pylist() == [3, None]
    samples = tmp_path / "s.parquet"
    done = export_samples([view(record())], samples, "parquet")
    table = parquet.read_table(samples)
    assert table.num_rows == done.rows == 5 * 102
    assert str(table.schema.field("total_ns").type) == "int64"


def test_parquet_without_its_extra_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"thresher\[export\]"):
        export_trials([view(record())], tmp_path / "t.parquet", "parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_overwritten_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    refuse_existing(path, force=False)
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="--force"):
        refuse_existing(path, force=False)
    refuse_existing(path, force=True)
    with pytest.raises(ConfigurationError, match="is a folder"):
        refuse_existing(tmp_path, force=True)


@pytest.mark.parametrize(
    ("fault", "raised"), [(OSError(errno.ENOSPC, "full"), DiskFull), (ValueError("x"), ValueError)]
)
def test_an_export_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, fault: Exception, raised: type[Exception]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")

    def broken() -> Iterator[TrialView]:
        yield view(record())
        raise fault

    with pytest.raises(raised):
        export_samples(broken(), path, "csv")
    assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text() == "old"


def test_what_a_spreadsheet_would_run_is_quoted_and_numbers_are_not(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows: Any = [{"a": "=1+1", "b": "-1", "c": -1}]
    write_table(path, "csv", {"a": str, "b": str, "c": int}, [rows])
    assert read_csv(path) == [{"a": "'=1+1", "b": "-1", "c": "-1"}]


def test_columns_hold_what_devices_of_one_fleet_say_differently() -> None:
    rows: Any = [
        {"a": 1, "b": 1, "c": True, "d": None, "load_ms": 3, "condition_x_bytes": None, "e": 2**70},
        {"a": 2.5, "b": "many", "c": False, "d": None, "load_ms": None},
    ]
    found = columns_of(rows)
    assert found == {
        "a": float, "b": str, "c": bool, "d": str, "load_ms": float, "condition_x_bytes": int, "e": float,
    }  # fmt: skip


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=4), nested, max_size=4), min_size=1, max_size=3))
@settings(deadline=None, max_examples=40)
def test_any_conditions_make_columns_of_one_type_each(conditions: list[dict[str, Any]]) -> None:
    from controller.trial.export import _typed

    rows = [flattened("condition", each) for each in conditions]
    columns = columns_of(rows)
    for row in rows:
        for name, value in _typed(row, columns).items():
            assert value is None or type(value) is columns[name]


def test_every_column_of_a_sample_is_known() -> None:
    from controller.trial.export import SAMPLE_COLUMNS

    found = {name for row in sample_rows(view(record()), process(0, [1])) for name in row}
    assert found <= set(SAMPLE_COLUMNS)
