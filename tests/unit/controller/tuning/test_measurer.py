"""A fleet as the search's measurer, on a real database: asked once, waited for, repeated, called off, resumed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.compress.search.classes.measurer import Subject
from controller.config.fleet_file import FleetFile
from controller.deploy.settings import DeploySettings
from controller.fleet.views import DeviceView, TrialView
from controller.store import deployments, tables, trials
from controller.store.database import Store
from controller.trial.cost import variant_seconds
from controller.tuning import measurer as module
from controller.tuning.measurer import FleetMeasurer
from controller.tuning.row import close_row, open_row, search_id
from controller.workspace import Workspace
from tests.unit.controller.deploy.test_trial_requests import device
from tests.unit.controller.trial.records import processes, record, view
from wire.artifact import ArtifactRef
from wire.trial import Flag, PlanPolicy, TrialRequest

REF = ArtifactRef(digest="a" * 64, index=("b" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
SEARCH = search_id("search-small-1-abc")
TIMES_NS = {"baseline": 4_000_000, "fast": 1_000_000, "slow": 3_000_000}


class Fleet:
    """Stands for the service: a second passes at every wait, and one trial comes back, unless its device is away."""

    def __init__(self, store: Store) -> None:
        self.store, self.artifacts = store, None
        self.now_s, self.online, self.silent = 0.0, True, False
        self.asked: list[list[str]] = []
        self.policies: list[PlanPolicy] = []
        self.void: list[str] = []
        self.records: dict[str, Any] = {}

    def devices(self, _: str) -> list[DeviceView]:
        from dataclasses import replace

        return [replace(device("pi-1"), online=self.online)]

    def trials(self, search: str, **_: bool) -> list[TrialView]:
        with self.store.read() as session:
            rows = trials.of_deployment(session, search)
        return [
            view(
                self.records.get(row.trial), trial=row.trial, device=row.device, device_class=row.device_class,
                variant=row.variant, control=row.control, stage=row.stage,
            )
            for row in rows
        ]  # fmt: skip

    def ask_trials(
        self,
        search: str,
        requests: Mapping[str, Sequence[TrialRequest]],
        classes: Mapping[str, str],
        policy: PlanPolicy,
    ) -> None:
        self.policies.append(policy)
        with self.store.begin() as session:
            row = deployments.get(session, search)
            for name, some in requests.items():
                self.asked.append([each.variant for each in some])
                for each in some:
                    trials.ask(session, row, name, classes[name], each, now_s=self.now_s)

    def cancel_trials(self, search: str, name: str | None = None) -> int:
        with self.store.begin() as session:
            return len(trials.cancel(session, search, name))

    def wait_changed(self, _: float) -> bool:
        self.now_s += 1.0
        if self.online and not self.silent:
            self.send()
        return True

    def send(self) -> None:
        """Let the next trial come back."""
        with self.store.begin() as session:
            rows = [row for row in session.query(tables.Trial) if row.stage == trials.ASKED]
            for row in sorted(rows, key=lambda one: one.asked_s)[:1]:
                flags = (Flag(reason="disturbed", void=True),) if row.variant in self.void else ()
                self.void = [name for name in self.void if name != row.variant]
                self.records[row.trial] = record(
                    trial=row.trial, device=row.device, variant=row.variant, control=row.control, predictions=None,
                    replicates=processes(*[TIMES_NS[row.variant]] * 3), flags=flags,
                )  # fmt: skip
                trials.receive(session, row, b"", "measured", now_s=self.now_s)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    place = Workspace(tmp_path)
    place.create()
    monkeypatch.setattr(module, "pack_bundle", lambda *_, **__: SimpleNamespace(ref=REF))
    store = Store.open(place)
    yield Fleet(store)
    store.close()


def settings(**rules: Any) -> DeploySettings:
    workload = {
        "model": "leaf@1",
        "goals": {"max_accuracy_drop_ratio": 0.02, "minimise": ["wire_bytes"]},
        "trials": {"grade": "quick", **rules},
    }
    document = {"version": 1, "fleet": "yard", "workloads": {"main": workload}}
    found = DeploySettings(FleetFile.model_validate(document), "main", Path("nowhere"), "", "", ())
    found.__dict__["model"] = SimpleNamespace(name="leaf", version="1")  # no folder is read
    return found


def subject(name: str, engine: str = "onnxruntime") -> Subject:
    variant: Any = SimpleNamespace(name=name, engine=engine, format="onnx")
    return Subject(variant, None)  # type: ignore[arg-type]  # nothing is packed


@pytest.fixture
def measuring(fleet: Fleet) -> Callable[..., FleetMeasurer]:
    def made(minutes: float = 100.0, **rules: Any) -> FleetMeasurer:
        given = settings(**rules)
        open_row(fleet.store, SEARCH, given, 0.0)
        service: Any = fleet
        controls = [subject("baseline")]
        return FleetMeasurer(
            service, given, SEARCH, minutes, controls=controls, golden=None, clock=lambda: fleet.now_s  # type: ignore[arg-type]
        )  # fmt: skip

    return made


def test_variants_come_back_as_times_over_the_control(fleet: Fleet, measuring: Any) -> None:
    found = measuring(policy="coexist").measure({"all": [subject("fast"), subject("slow")]})
    assert {key: each.ratio for key, each in found.items()} == pytest.approx(
        {("all", "fast"): 0.25, ("all", "slow"): 0.75}
    )
    assert fleet.asked == [["baseline", "fast", "slow"]]
    assert fleet.policies[0].serving == "coexist"


def test_a_search_that_goes_on_asks_for_nothing_again(fleet: Fleet, measuring: Any) -> None:
    first = measuring()
    first.measure({"all": [subject("fast")]})
    again = measuring()
    assert again.known()["all", "fast"].ratio == pytest.approx(0.25)
    assert again.minutes_left == first.minutes_left < 100.0
    assert again.measure({"all": [subject("fast")]})["all", "fast"].ratio == pytest.approx(0.25)
    assert len(fleet.asked) == 1


def test_what_was_under_way_when_the_process_died_is_waited_for(fleet: Fleet, measuring: Any) -> None:
    def killed(_: float) -> bool:
        raise KeyboardInterrupt

    fleet.wait_changed = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        measuring().measure({"all": [subject("fast")]})
    del fleet.wait_changed
    found = measuring().measure({"all": [subject("fast")]})
    assert found["all", "fast"].ratio == pytest.approx(0.25)
    assert fleet.asked == [["baseline", "fast"]]


def test_a_void_record_is_measured_again_beside_the_control_while_it_can_be_paid(fleet: Fleet, measuring: Any) -> None:
    fleet.void = ["slow"]
    found = measuring(repeats=1).measure({"all": [subject("fast"), subject("slow")]})
    assert found["all", "slow"].ratio == pytest.approx(0.75)
    assert fleet.asked == [["baseline", "fast", "slow"], ["baseline", "slow"]]


def test_a_repeat_that_nobody_can_pay_is_not_asked(fleet: Fleet, measuring: Any) -> None:
    fleet.void = ["fast"]
    rules = settings().workload.trials
    found = measuring(minutes=2.5 * variant_seconds(rules) / 60).measure({"all": [subject("fast")]})
    assert found["all", "fast"].because == "void on pi-1: disturbed"
    assert len(fleet.asked) == 1


def test_a_device_that_goes_away_is_not_waited_for_and_costs_nothing(fleet: Fleet, measuring: Any) -> None:
    given = measuring()
    fleet.online = True
    ask = fleet.ask_trials

    def away_then(*arguments: Any) -> None:
        ask(*arguments)
        fleet.online = False

    fleet.ask_trials = away_then  # type: ignore[assignment,method-assign]
    found = given.measure({"all": [subject("fast")]})
    assert fleet.now_s == pytest.approx(module.AWAY_S, abs=2)
    assert (found["all", "fast"].again, found["all", "fast"].ratio) == (True, None)
    assert given.minutes_left == 100.0
    fleet.online, fleet.ask_trials = True, ask  # type: ignore[method-assign]
    assert given.measure({"all": [subject("fast")]})["all", "fast"].ratio == pytest.approx(0.25)


def test_who_is_away_from_the_start_is_not_asked(fleet: Fleet, measuring: Any) -> None:
    fleet.online = False
    found = measuring().measure({"all": [subject("fast")]})
    assert found["all", "fast"].because == "no device of the class is present"
    assert fleet.asked == []


def test_a_device_that_says_nothing_is_given_up_in_time(fleet: Fleet, measuring: Any) -> None:
    fleet.silent = True
    found = measuring(timeout_s=30.0).measure({"all": [subject("fast")]})
    assert found["all", "fast"].because == "pi-1 went away or sent nothing in time"
    assert fleet.now_s == pytest.approx(30.0, abs=2)


def test_a_class_without_the_engine_says_so_and_measures_the_rest(fleet: Fleet, measuring: Any) -> None:
    found = measuring().measure({"all": [subject("fast"), subject("other", "litert")]})
    assert found["all", "other"].lacking
    assert found["all", "other"].because == "engine litert is not there"
    assert fleet.asked == [["baseline", "fast"]]
    alone = measuring().measure({"all": [subject("third", "litert")]})
    assert alone["all", "third"].lacking
    assert len(fleet.asked) == 1


def test_a_search_keeps_no_deploy_waiting_and_is_no_deploys_last_one(fleet: Fleet, measuring: Any) -> None:
    measuring()
    with fleet.store.read() as session:
        assert deployments.active(session, "yard", "main") is None
        assert deployments.unowned(session, now_s=1e9) == []
        assert deployments.listed(session, "yard", "main") == []
        assert deployments.get(session, SEARCH).stage == "searching"
    close_row(fleet.store, SEARCH, 5.0)
    with fleet.store.read() as session:
        assert deployments.get(session, SEARCH).stage == "completed"


def test_its_cost_is_known_before_it_is_asked(measuring: Any) -> None:
    each = variant_seconds(settings().workload.trials) / 60
    assert measuring().cost("all", 2) == pytest.approx(3 * each)
    assert measuring().classes == ("all",)
