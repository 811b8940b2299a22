"""Open a fleet for a search: lead the workspace, wait for devices, end what is still asked for when all is over.

Decides: what is said before anything starts, and that a search needs one class with a device, not all of them. Leaves
out: the search, and carrying trials out (`measurer.py`).

    settings = search_settings(found, "main", model)
    with opened_fleet(workspace, found, settings, asked) as measurer: ...
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from controller.compress.search.classes.measurer import Subject
from controller.config.fleet_file import DeviceClass
from controller.deploy.context import by_class, online_only
from controller.deploy.fleet_files import FoundFleet, broker_settings
from controller.deploy.planning.trial_plan import check_pause
from controller.deploy.settings import DeploySettings
from controller.errors import NoDevice
from controller.fleet.views import DeviceView
from controller.models.folder import ModelFolder
from controller.service import Service
from controller.tuning.measurer import FleetMeasurer
from controller.tuning.minutes import longest_pause_text, sitting_minutes
from controller.tuning.row import close_row, open_row
from controller.workspace import Workspace

PRESENT_WAIT_S = 30.0


@dataclass(frozen=True, eq=False)
class Asked:
    """What a search asks of a fleet. search: name of its row. minutes: device-minutes, former runs included. controls:
    uncompressed forms of the model, the first choice first. golden: raw golden inputs."""

    search: str
    minutes: float
    controls: Sequence[Subject]
    golden: NDArray[Any]


def search_settings(found: FoundFleet, workload: str, model: ModelFolder) -> DeploySettings:
    """Return what of a fleet's file a search goes by: classes, and how the workload's trials are made.

    Raises:
        NotFound: No such workload.
    """
    found.fleet_file.workload(workload)
    return DeploySettings(
        fleet_file=found.fleet_file,
        workload_name=workload,
        model_root=model.root,
        model_files_digest="",
        evaluation_digest="",
        recipes=(),
    )


@contextmanager
def opened_fleet(
    workspace: Workspace,
    found: FoundFleet,
    settings: DeploySettings,
    asked: Asked,
    told: Callable[[str], None] = lambda _: None,
) -> Iterator[FleetMeasurer]:
    """Yield what measures on the fleet's devices. What is under way when the block is left in order is called off; when
    it is left by an error or Ctrl-C it stays asked for, and the same search waits for it next time.

    Raises:
        Busy: Another process leads this workspace.
        BrokerUnreachable: Nobody answers there.
        NoDevice: No class has a device.
        ConfigurationError: The longest pause has no room for the control and a variant.
    """
    with Service(workspace, broker_settings(found), [settings.fleet]) as service:
        _require_devices(service, settings, told)
        check_pause(settings, service.devices(settings.fleet))
        open_row(service.store, asked.search, settings, time.time())
        measurer = FleetMeasurer(
            service, settings, asked.search, asked.minutes, controls=asked.controls, golden=asked.golden, told=told
        )
        yield measurer
        measurer.end()
        close_row(service.store, asked.search, time.time())


def _require_devices(service: Service, settings: DeploySettings, told: Callable[[str], None]) -> None:
    def empty() -> list[str]:
        groups = online_only(by_class(service.devices(settings.fleet), settings))
        return [name for name, views in groups.items() if not views]

    if empty():
        told(f"waiting for a device of {', '.join(empty())}")
        service.wait_for_devices(settings.fleet, lambda _: not empty(), PRESENT_WAIT_S)
    missing = empty()
    if len(missing) == len(settings.classes):
        raise NoDevice(
            f"fleet {settings.fleet}: no device is present of class {', '.join(missing)}: start its agents, or correct "
            "the match in the fleet file; `controller fleet show` lists who is there"
        )
    if missing:
        told(f"no device is present of {', '.join(missing)}: the search goes on with the other classes")


def preview_lines(settings: DeploySettings, views: list[DeviceView], minutes: float) -> list[str]:
    """Return in words what a search would ask of a fleet, as its devices were last seen.

    Raises:
        ConfigurationError: A device matches two classes.
    """
    groups = by_class(views, settings)
    lines = [_class_line(one, groups[one.name], settings) for one in settings.classes]
    trials = settings.workload.trials
    return [
        *lines,
        f"measured: grade {trials.grade}, scenario {trials.scenario}; {longest_pause_text(trials)}",
        f"asks for at most {minutes:g} device-minutes of all classes together, as the planner reckons them",
    ]


def _class_line(one: DeviceClass, views: Sequence[DeviceView], settings: DeploySettings) -> str:
    rules = settings.workload.trials
    online = [view for view in views if view.online]
    count = max(1, min(rules.devices_per_class, len(online)))
    serving = any(each.active is not None for view in online for each in view.workloads.values())
    emulated = " (emulated)" if any(view.emulated for view in views) else ""
    cost = sitting_minutes(rules, 3, count, serving=serving)
    return (
        f"class {one.name}{emulated}: {len(views)} devices, {len(online)} online; the control and 3 variants on "
        f"{count} of them take {cost:.1f} device-minutes"
    )
