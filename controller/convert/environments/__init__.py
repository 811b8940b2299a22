"""Environments of converters whose packages cannot live beside the controller's: made from locks, run as processes.

run_worker(required("torch"), "probe", {"import": ["torch"]}, folder)
"""

from controller.convert.environments.install import install, listing, remove
from controller.convert.environments.places import NAMES, Environment, environment, required
from controller.convert.environments.runner import Limits, run_worker

__all__ = [
    "NAMES", "Environment", "Limits", "environment", "install", "listing", "remove", "required", "run_worker",
]  # fmt: skip
