"""The house's tools: which lock belongs to which Python, what a lock pins, what a resumed run skips, what a code is."""

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tools import environment
from tools.codes import codes as codes_given
from tools.codes import find
from tools.lock import all_names, pins, with_cpu_builds
from tools.resume import Resume
from tools.source import Source, error_classes, functions, lines_of, measuring_flags

PINNED = "absl-py==2.5.1 \\\n    --hash=sha256:00\n    # via thresher\nbackports.x==1.0 ; sys_platform == 'linux' \\\n"


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_each_python_has_its_lock(version: tuple[int, int]) -> None:
    path = environment.lock_file("demo", version)
    assert path.name == f"demo-py3.{version[1]}.txt"
    assert path.is_file()


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 14)])
def test_another_python_is_refused_with_the_way_out(version: tuple[int, int]) -> None:
    with pytest.raises(environment.Refused, match=r"3\.11 to 3\.13.*make PYTHON="):
        environment.lock_file("demo", version)


def test_an_environment_made_from_the_largest_lock_serves_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[Path] = []
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    monkeypatch.setattr(environment, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(environment, "_version_of", lambda _python: (3, 11))
    monkeypatch.setattr(environment, "_install", installed.append)
    for lock in ("demo", "demo", "dev", "demo", "dev"):
        environment.prepare(lock)
    assert [path.name for path in installed] == ["demo-py3.11.txt", "dev-py3.11.txt"]


def test_a_changed_lock_is_installed_again(tmp_path: Path) -> None:
    lock = tmp_path / "demo-py3.11.txt"
    lock.write_text("a==1\n")
    before = environment.fingerprint(lock)
    lock.write_text("a==2\n")
    assert environment.fingerprint(lock) != before


def test_pins_are_read_from_a_lock() -> None:
    assert pins(PINNED) == ["absl-py==2.5.1", "backports.x==1.0"]


def test_there_is_a_lock_for_every_extra() -> None:
    assert all_names()[:2] == ["dev", "base"]
    assert {"controller", "pi", "train"} < set(all_names())


def test_the_cpu_build_comes_first() -> None:
    lines = with_cpu_builds("torch==2.13.0 \\\n    --hash=sha256:ff\n").splitlines()
    assert lines[0] == "torch==2.13.0 \\"
    assert lines[1].startswith("    --hash=sha256:6746dbcb")
    assert lines[2] == "    --hash=sha256:ff"


def report(nodeid: str, when: str, outcome: str) -> Any:
    return SimpleNamespace(nodeid=nodeid, when=when, passed=outcome == "passed", failed=outcome == "failed")


def selected(resume: Resume, nodeids: list[str]) -> list[str]:
    items = [SimpleNamespace(nodeid=nodeid) for nodeid in nodeids]
    config = SimpleNamespace(hook=SimpleNamespace(pytest_deselected=lambda items: None))  # noqa: ARG005
    resume.pytest_collection_modifyitems(cast(Any, config), cast(Any, items))
    return [item.nodeid for item in items]


def test_a_resumed_run_skips_what_passed_until_the_code_changes(tmp_path: Path) -> None:
    record = tmp_path / "cache" / "long"
    first = Resume(record, "code-1")
    first.pytest_runtest_logreport(report("a", "call", "passed"))
    first.pytest_runtest_logreport(report("b", "call", "failed"))
    first.pytest_runtest_logreport(report("c", "call", "passed"))
    first.pytest_runtest_logreport(report("c", "teardown", "failed"))
    first.pytest_runtest_logreport(report("d", "setup", "passed"))
    assert selected(Resume(record, "code-1"), ["a", "b", "c", "d"]) == ["b", "c", "d"]
    assert selected(Resume(record, "code-2"), ["a", "b", "c", "d"]) == ["a", "b", "c", "d"]


def test_a_function_is_measured_without_its_docstring() -> None:
    text = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    source = Source(Path("f.py"), text, ast.parse(text))
    assert [lines_of(function) for function in functions(source)] == [2]


def test_reasons_are_found_where_the_code_gives_them() -> None:
    found = codes_given()
    assert {"quarantined", "retries_spent", "old_generation", "golden_mismatch", "worker_crashed"} <= set(found)
    assert any(error.name == "UnusableData" and error.exit_code == 5 for error in error_classes())
    assert measuring_flags()["probe_invalid"][1] is True
    assert {"worker_silent", "stop_then_start", "pause_spent", "measuring_killed", "superseded"} <= set(found)
    assert find().unclear == []
