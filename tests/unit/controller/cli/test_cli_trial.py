"""`controller trial`: what is shown, compared and exported."""

import csv
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from controller.cli.entry import run
from controller.store import deployments, trials
from controller.store.database import Store
from tests.unit.controller.report.store_rows import DEPLOYMENT, filled_store
from tests.unit.controller.trial.records import processes, record
from wire.artifact import ArtifactRef
from wire.base import encode
from wire.trial import Energy, Flag, OperatorCost, Phases, Profile, TrialRecord, TrialRequest, Validity

QUICK, SLOW = processes(1_000_000, 1_010_000, 990_000, 1_000_000), processes(2_000_000, 2_020_000, 1_980_000, 2_000_000)


class Terminal:
    """Runs commands in one workspace."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert run(["--workspace", str(self.root), "trial", *arguments]) == code
        return self._capsys.readouterr().out

    def said(self, *arguments: str, code: int) -> str:
        """Return what went to stderr."""
        assert run(["--workspace", str(self.root), "trial", *arguments]) == code
        return self._capsys.readouterr().err


def _full() -> TrialRecord:
    """A record with everything that a device may send."""
    operators = (OperatorCost(operator="Conv", calls=9, total_ns=2e6, share_ratio=0.8),)
    return record(
        trial="full",
        scenario="server",
        replicates=processes(1_000_000, 1_010_000, queries_per_second=19.5, over_bound_ratio=0.02),
        settings={"rate_hz": 20.0, "bound_ms": 5.0},
        energy=Energy(source="rapl", seconds=10, queries=5, mean_w=3, idle_w=1, joules=20, joules_per_query=4),
        profile=Profile(engine="onnxruntime", queries=50, operators=operators, overhead_ratio=0.12, note="by ORT"),
        cold_loads=(Phases(import_ms=1, load_ms=40, cache_misses=2),),
        warm_loads=(Phases(import_ms=1, load_ms=20, cache_misses=0),),
        validity=Validity(valid=False, reasons=("throttled",)),
        flags=(Flag(reason="throttled", remedy="cool it", void=True),),
    )


def _add(store: Store, made: TrialRecord) -> None:
    reference = ArtifactRef(digest=made.bundle, index=("e" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
    request = TrialRequest(
        trial=made.trial, workload="main", bundle=reference, variant=made.variant, format="onnx", engine=made.engine,
        scenario=made.scenario, settings=made.settings, group="g",
    )  # fmt: skip
    with store.begin() as session:
        trials.ask(session, deployments.get(session, DEPLOYMENT), made.device, "single", request, now_s=200.0)
        row = trials.get(session, made.trial)
        assert row is not None
        trials.receive(session, row, zlib.compress(encode(made)), made.outcome, now_s=210.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that no test changes: the trials of `filled_store` and more."""
    place = tmp_path_factory.mktemp("trials") / "ws"
    store = filled_store(place)
    throttled = Flag(reason="throttled", remedy="cool it", void=True)
    _add(store, record(trial="fast", control=True, replicates=QUICK))
    _add(store, record(trial="slow", replicates=SLOW))
    _add(store, record(trial="same", replicates=QUICK))
    _add(store, record(trial="void", replicates=QUICK, flags=(throttled,)))
    _add(store, _full())
    store.close()
    return place


@pytest.fixture
def terminal(root: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(root, capsys)


def test_the_list_names_the_scenario(terminal: Terminal) -> None:
    rows = {row["trial"]: row for row in json.loads(terminal("list", "--json"))}
    assert (rows["full"]["scenario"], rows["fast"]["scenario"]) == ("server", "single_stream")
    assert rows["full"]["summary"]["queries_per_second"] == 19.5
    shown = terminal("list")
    assert "scenario" in shown
    assert "server" in shown


def test_the_list_says_which_numbers_are_not_to_be_believed(terminal: Terminal) -> None:
    lines = {line.split()[0]: line.split() for line in terminal("list").splitlines() if line.strip()}
    assert lines["void"][-2:] == ["void:", "throttled"]
    assert lines["t0"][-2:] == ["1", "flag"]
    assert lines["fast"][-1] == "B"  # nothing stands behind its memory


def test_everything_that_a_device_sends_is_shown(terminal: Terminal) -> None:
    shown = terminal("show", "full")
    for text in (
        "setting rate_hz", "2.00 % of the queries", "no: throttled", "void throttled", "cool it",
        "4 J a query, 3 W, idle 1 W, from rapl over 10.0 s", "loads in processes of their own", "cold", "Conv",
        "12.0 % slower", "by ORT", "condition before", "governor performance, temperatures_celsius (cpu 41.5)",
    ):  # fmt: skip
        assert text in shown, text
    assert "setting streams" not in shown  # the scenario does not read it
    document = json.loads(terminal("show", "full", "--json"))
    assert document["settings"]["rate_hz"] == 20
    assert document["profile"]["operators"][0]["operator"] == "Conv"


def test_a_sensor_that_is_not_there_is_said(terminal: Terminal) -> None:
    shown = terminal("show", "fast")
    assert "no sensor" in shown
    assert "1 (" in shown  # p50 with its interval


@pytest.mark.parametrize(
    ("first", "second", "code", "verdict", "said"),
    [
        ("slow", "fast", 0, "faster", "verdict: fast is faster: -50.0 % time"),
        ("fast", "slow", 15, "slower", "verdict: slow is slower: +100.0 % time"),
        ("fast", "same", 0, "no_difference_seen", "verdict: no difference seen"),
        ("t0", "t1", 16, "not_enough_data", "verdict: not enough data"),
        ("fast", "void", 16, None, "verdict: none: void is void: throttled (cool it)"),
        ("fast", "full", 16, None, "single_stream and server"),
    ],
)
def test_a_comparison_says_its_verdict_by_its_exit_code(
    terminal: Terminal, first: str, second: str, code: int, verdict: str | None, said: str
) -> None:
    assert said in terminal("compare", first, second, code=code)
    document: dict[str, Any] = json.loads(terminal("compare", first, second, "--json", code=code))
    assert (document["verdict"], document["first"]["trial"], document["second"]["trial"]) == (verdict, first, second)


def test_a_comparison_names_what_is_not_alike(terminal: Terminal) -> None:
    shown = terminal("compare", "t1", "fast", code=16)
    assert "caution: another grade: quick and normal" in shown
    assert "caution: emulated: the limits of one of them" in shown
    assert "caution: not interleaved" in shown
    assert "measured in turns" in terminal("compare", "fast", "same")
    assert "caution: both are the same trial" in terminal("compare", "fast", "fast")
    assert "the same trial" not in terminal("compare", "fast", "same")


def test_a_trial_that_is_not_there_is_named(terminal: Terminal) -> None:
    assert "no trial 'nope'" in terminal.said("compare", "fast", "nope", code=4)
    assert "no trial 'nope'" in terminal.said("export", "--trial", "nope", "--out", "x.csv", code=4)


def test_an_export_is_a_table_of_trials_or_of_samples(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    done = json.loads(terminal("export", "--out", str(path), "--json"))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert done["rows"] == len(rows) == 7
    assert {row["trial"] for row in rows} == {"t0", "t1", "fast", "slow", "same", "void", "full"}
    assert "is there already" in terminal.said("export", "--out", str(path), code=3)
    twice = ("--trial", "slow", "--trial", "fast", "--trial", "slow")  # once is enough
    shown = terminal("export", "--out", str(path), "--force", "--samples", *twice)
    assert shown.startswith("816 rows of 18 columns in ")  # 2 trials of 4 processes: 2 of warm-up and 100 timed


def test_an_export_without_a_form_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    assert "--format" in terminal.said("export", "--out", str(tmp_path / "trials"), code=2)
    both = ("--deployment", DEPLOYMENT, "--trial", "t0", "--out", str(tmp_path / "t.csv"))
    assert "exclude each other" in terminal.said("export", *both, code=2)
    terminal("export", "--out", str(tmp_path / "trials"), "--format", "csv")
    terminal("export", "--deployment", "nope", "--out", str(tmp_path / "n.csv"), code=4)
    assert not (tmp_path / "n.csv").exists()
