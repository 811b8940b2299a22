"""Which variants a deploy makes: those that recipes ask for and some device of the fleet has the engine for. Pure.

Decides: whose engines count, and that nothing is made for an engine that nobody has. Leaves out: making variants
(`controller/compress`), and who measures them (`trial_plan.py`).
"""

from collections.abc import Mapping

from controller.compress.engine_options import RUNS
from controller.compress.variant import Wanted, wanted_variants
from controller.config.classes import usable_engines
from controller.deploy.context import by_class
from controller.deploy.settings import DeploySettings
from controller.fleet.views import DeviceView


def expected_variants(settings: DeploySettings, views: list[DeviceView]) -> tuple[tuple[Wanted, ...], dict[str, str]]:
    """Return what a deploy to these devices makes, and what it leaves out, each with the reason."""
    return wanted_variants(settings.recipes, settings.model.formats, fleet_engines(settings, views))


def fleet_engines(settings: DeploySettings, views: list[DeviceView]) -> frozenset[str]:
    """Return the engines that a known device of the classes may use, online or not.

    Of a class without a known device nobody knows: it counts as having those that the fleet file allows it.
    """
    found: set[str] = set()
    classes = {one.name: one for one in settings.classes}
    for name, members in by_class(views, settings).items():
        for view in members:
            assert view.inventory is not None  # else it would have no class
            found |= usable_engines(classes[name], view.inventory)
        if not members:
            found |= set(classes[name].engines or RUNS)
    return frozenset(found)


def left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """Return what is left out in words, those of one reason together."""
    names: dict[str, list[str]] = {}
    for name, because in left_out.items():
        names.setdefault(because, []).append(name)
    return [f"not made: {', '.join(each)}: {because}" for because, each in names.items()]
