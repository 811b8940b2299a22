"""Kernels come from the linked library, as in a worker that was warmed; compiled once a machine and release."""

import os

import pytest

from agent.warm import ensure_warm


@pytest.fixture(autouse=True, scope="session")
def _warm_kernels() -> None:
    os.environ["NUMBA_CACHE_DIR"] = str(ensure_warm())
