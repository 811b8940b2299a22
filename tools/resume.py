"""A pytest plugin for long suites: `-p tools.resume --resume FILE` skips what passed before, until the code changes.

Decides: which tests need not run again. Leaves out: which tests are long (the marker `long`). FILE holds the digest of
the code and one line per test that passed with it; with pytest-xdist the controlling process alone writes it.
"""

import hashlib
from pathlib import Path

import pytest

CODE = ("agent", "controller", "simulator", "wire", "models", "configs", "tests", "pyproject.toml")
"""Files below these decide what a test does."""

SUFFIXES = {".html", ".json", ".onnx", ".py", ".tflite", ".toml", ".yaml"}


def code_digest(root: Path) -> str:
    """Return a digest over the names and contents of the code's files."""
    digest = hashlib.sha256()
    for top in CODE:
        start = root / top
        files = [start] if start.is_file() else sorted(path for path in start.rglob("*") if path.suffix in SUFFIXES)
        for path in files:
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


class Resume:
    """Remembers the tests that passed with one state of the code."""

    def __init__(self, record: Path, digest: str) -> None:
        self._record = record
        self._digest = digest
        lines = record.read_text().splitlines() if record.exists() else []
        self.passed = set(lines[1:]) if lines[:1] == [digest] else set()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        done = [item for item in items if item.nodeid in self.passed]
        items[:] = [item for item in items if item.nodeid not in self.passed]
        config.hook.pytest_deselected(items=done)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.passed.discard(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        else:
            return
        self._record.parent.mkdir(parents=True, exist_ok=True)
        self._record.write_text("\n".join([self._digest, *sorted(self.passed)]) + "\n")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        # Nothing left to run is what a resumed run is for; nothing marked at all is no failure either.
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK


class ReadOnly(Resume):
    """The same in a worker of pytest-xdist, which leaves writing to the process that hears of all tests."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Nothing: the controlling process writes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--resume", metavar="FILE", help="skip tests that passed before with the same code")


def pytest_configure(config: pytest.Config) -> None:
    record = config.getoption("--resume")
    if record is not None:
        kind = ReadOnly if hasattr(config, "workerinput") else Resume
        path = config.rootpath / record
        config.pluginmanager.register(kind(path, code_digest(config.rootpath)), "thresher-resume")
