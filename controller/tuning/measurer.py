"""A fleet as the search's measurer: asks devices through the service, waits, asks again for what came back void.

Decides: how long a device that is away is waited for, and that what is known or under way is not asked again. Leaves
out: names and plans (`asking.py`), what records say (`readings.py`), what it costs (`minutes.py`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from controller.bundle.pack import pack_bundle
from controller.choose.measured import PAUSE_SPENT
from controller.compress.search.classes.measurer import Readings, Subject
from controller.deploy.planning.trial_plan import repeats_of, trial_devices
from controller.deploy.settings import DeploySettings
from controller.fleet.views import DeviceView
from controller.service import Service
from controller.store.trials import ASKED, CANCELED
from controller.trial.plan import TrialDevice
from controller.tuning.asking import Place, class_plan, requests_for, sitting_of, unmeasured
from controller.tuning.minutes import minutes_of, sitting_minutes
from controller.tuning.readings import readings_of
from controller.tuning.row import rows_of
from wire.artifact import ArtifactRef
from wire.trial import TrialRequest

POLL_S = 1.0
AWAY_S = 60.0
"""A device that is away for so long is no longer waited for: its trials are called off."""

Requests = dict[str, list[TrialRequest]]
"""Device -> what it is asked to measure."""


class FleetMeasurer:
    """Measures on the devices of a fleet; a `Measurer` of the search."""

    def __init__(
        self,
        service: Service,
        settings: DeploySettings,
        search: str,
        minutes: float,
        *,
        controls: Sequence[Subject],
        golden: NDArray[Any],
        told: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take a started service; nothing is asked yet.

        Args:
            service: It leads, and listens to the fleet.
            settings: The fleet's file, its workload, and the model.
            search: Name of the search's row, which is written.
            minutes: Device-minutes of the whole search, former runs included.
            controls: Uncompressed forms of the model, the first choice first.
            golden: Raw golden inputs of the model.
            told: Is told what comes back.
            clock: Seconds.
        """
        self._service, self._settings, self._golden = service, settings, golden
        self._place = Place(search, settings.workload_name, settings.workload.trials)
        self._minutes, self._controls, self._told, self._clock = minutes, tuple(controls), told, clock

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Classes that run the workload."""
        return tuple(each.name for each in self._settings.classes)

    @property
    def minutes_left(self) -> float:
        """Device-minutes that are not asked for yet."""
        asked = [row for row in rows_of(self._service.store, self._place.search) if row.stage != CANCELED]
        return self._minutes - minutes_of(self._place.rules, len(asked))

    def cost(self, device_class: str, variants: int) -> float:
        """As the planner reckons it for the devices that would measure."""
        devices = self._devices()[device_class]
        present = [each for each in devices if each.online]
        count = max(1, min(self._place.rules.devices_per_class, len(present)))
        serving = any(each.serving for each in present)
        return sitting_minutes(self._place.rules, variants, count, serving=serving)

    def known(self) -> Readings:
        """Return what has come back; what is still under way has no reading."""
        return readings_of(self._service.trials(self._place.search))

    def measure(self, wanted: Mapping[str, Sequence[Subject]]) -> Readings:
        """Ask for what is neither known nor under way, wait for all of it, and return a reading of each."""
        lacking, requests = Readings(), Requests()
        for name, subjects in wanted.items():
            asked, refused = self._requests(name, self._new(name, subjects))
            requests.update(asked)
            lacking.update(refused)
        self._ask(requests)
        self._wait()
        for again in range(1, self._place.rules.repeats + 1):
            if not (requests := self._unusable(requests, again)):
                break
            self._told(f"measured again, since records are void or cut short: {', '.join(sorted(requests))}")
            self._ask(requests)
            self._wait()
        found = {**lacking, **self.known()}
        keys = [(name, each.variant.name) for name, subjects in wanted.items() for each in subjects]
        return {key: found[key] for key in keys if key in found}

    def end(self) -> int:
        """Call off what nobody waits for any more; return how many trials."""
        return self._service.cancel_trials(self._place.search)

    def _new(self, name: str, subjects: Sequence[Subject]) -> list[Subject]:
        """Return the variants that a class neither measured nor measures now; those of devices that were away anew."""
        rows = rows_of(self._service.store, self._place.search)
        there = {row.variant for row in rows if row.device_class == name and row.stage != CANCELED}
        return [each for each in subjects if each.variant.name not in there]

    def _requests(self, name: str, subjects: Sequence[Subject]) -> tuple[Requests, Readings]:
        if not subjects:
            return {}, {}
        plan = class_plan(self._place, name, self._devices()[name], self._controls, subjects)
        if isinstance(plan, str):
            return {}, unmeasured(name, subjects, plan)
        every = {each.variant.name: each for each in (*subjects, *self._controls)}
        bundles = {each: (every[each], self._bundle(every[each])) for each in plan.variants}
        out = [each for each in subjects if each.variant.name in plan.screened_out]
        refused = {
            key: value
            for each in out
            for key, value in unmeasured(name, [each], plan.screened_out[each.variant.name], lacking=True).items()
        }
        if len(plan.variants) < 2:
            return {}, refused
        return requests_for(self._place, plan, bundles, self._last_sittings()), refused

    def _bundle(self, subject: Subject) -> ArtifactRef:
        """Return a bundle without an evaluation set: what a variant loses was judged on the host."""
        store, model = self._service.artifacts, self._settings.model
        return pack_bundle(
            subject.variant, model, self._golden, subject.golden_outputs, evaluation_digest=None, store=store
        ).ref

    def _last_sittings(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in rows_of(self._service.store, self._place.search):
            found[row.device] = max(found.get(row.device, 0), sitting_of(row.trial))
        return found

    def _ask(self, requests: Requests) -> None:
        if requests:
            classes = {each.device: name for name, some in self._devices().items() for each in some}
            self._service.ask_trials(self._place.search, requests, classes, self._place.rules.plan_policy)

    def _wait(self) -> None:
        """Wait until nothing is under way; what is silent for too long is called off."""
        ends_s, gone = self._clock() + self._place.rules.patience_s, dict[str, float]()
        heard: set[str] = {row.trial for row in rows_of(self._service.store, self._place.search) if row.stage != ASKED}
        while open_ := self._under_way(heard):
            for device in self._away(open_, gone):
                self._told(f"{device} is away: its trials are called off")
                self._service.cancel_trials(self._place.search, device)
            if self._clock() >= ends_s:
                self._told(f"nothing more came from {', '.join(sorted(open_))}")
                self.end()
                return
            self._service.wait_changed(POLL_S)

    def _under_way(self, heard: set[str]) -> set[str]:
        """Return the devices that still measure; what has come back since the last look is told of."""
        rows = rows_of(self._service.store, self._place.search)
        for row in rows:
            if row.stage != ASKED and row.trial not in heard:
                heard.add(row.trial)
                self._told(f"{row.device}: {row.variant} {row.outcome or row.stage}")
        return {row.device for row in rows if row.stage == ASKED}

    def _away(self, devices: set[str], gone: dict[str, float]) -> list[str]:
        """Return the devices that have been away for too long. gone: device -> since when."""
        online = {each.device for each in self._views() if each.online}
        for device in devices & online:
            gone.pop(device, None)
        for device in devices - online:
            gone.setdefault(device, self._clock())
        return [device for device in devices if device in gone and self._clock() - gone[device] >= AWAY_S]

    def _unusable(self, requests: Requests, again: int) -> Requests:
        """Return what is to be measured once more and can be paid for: void records, and those cut short."""
        last = {request.trial for some in requests.values() for request in some}
        void, spent = dict[str, set[str]](), dict[str, set[str]]()
        for view in self._service.trials(self._place.search):
            if view.trial not in last or view.record is None:
                continue
            if any(flag.void for flag in view.record.flags):
                void.setdefault(view.device, set()).add(view.trial)
            if view.record.error.startswith(PAUSE_SPENT):
                spent.setdefault(view.device, set()).add(view.trial)
        found, room = Requests(), self.minutes_left
        for device in sorted({*void, *spent}):
            some = repeats_of(requests[device], void.get(device, ()), again, spent.get(device, ()))
            room -= minutes_of(self._place.rules, len(some))
            if some and room >= 0:
                found[device] = some
        return found

    def _views(self) -> list[DeviceView]:
        return self._service.devices(self._settings.fleet)

    def _devices(self) -> dict[str, list[TrialDevice]]:
        """Return class -> its devices as the planner takes them."""
        found: dict[str, list[TrialDevice]] = {name: [] for name in self.classes}
        for each in trial_devices(self._settings, self._views()):
            found[each.device_class].append(each)
        return found
