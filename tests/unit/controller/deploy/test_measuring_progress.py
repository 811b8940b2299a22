"""While devices measure, the progress names them; records are not decoded for it."""

from types import SimpleNamespace
from typing import Any

from controller.deploy.stages import measuring
from controller.trial.settings import TrialSettings


class Fleet:
    """Stands for the service: a second passes at every wait; `barn-1` sends its only record after 40 s."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.asked_for_records = False

    def trials(self, _: str, *, with_records: bool = True) -> list[SimpleNamespace]:
        self.asked_for_records |= with_records
        ends_s = {"barn-1": 40.0, "pump-1": 50.0}
        return [
            SimpleNamespace(
                trial=device, device=device, variant="int8", outcome="measured",
                stage="received" if self.now_s >= end_s else "asked",
            )
            for device, end_s in ends_s.items()
        ]  # fmt: skip

    def wait_changed(self, _: float) -> None:
        self.now_s += 1.0


def test_it_says_who_still_measures() -> None:
    fleet, said = Fleet(), []
    progress = SimpleNamespace(
        say=lambda text: said.append((fleet.now_s, text)), advance=lambda text: said.append((fleet.now_s, text))
    )
    rules = TrialSettings(timeout_s=100.0)
    context: Any = SimpleNamespace(
        deployment="d1",
        service=fleet,
        clock=lambda: fleet.now_s,
        settings=SimpleNamespace(workload=SimpleNamespace(trials=rules)),
        progress=progress,
    )
    measuring._wait(context, measuring.Told(said_s=0.0))
    both = "still measuring: barn-1 (1 to come), pump-1 (1 to come)"
    assert said == [
        (15.0, both),
        (30.0, both),
        (40.0, "barn-1: int8 measured"),
        (50.0, "pump-1: int8 measured"),
    ]
    assert not fleet.asked_for_records
