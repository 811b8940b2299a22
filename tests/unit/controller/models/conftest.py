"""Kernels come from the linked library, as in a worker that was warmed; compiled once a machine and release."""

import os

import pytest

from agent.warm import ensure_warm


@pytest.fixture(autouse=True, scope="session")
def warm_kernels() -> str:
    os.environ["NUMBA_CACHE_DIR"] = str(ensure_warm())
    return os.environ["NUMBA_CACHE_DIR"]


@pytest.fixture(autouse=True)
def _kernels_of_the_library(warm_kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test anew: tests of workers' limits name other folders in this process."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", warm_kernels)
