"""Releases are named by their content, complete or not there, and never more than two."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from agent.errors import DiskFull
from agent.install import release
from agent.install.environment import Environment, check_environment, foreign_paths, running_environment
from agent.install.layout import Layout
from agent.install.system import InstallFailed, InstallRefused, Progress, Step, run

BASE = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
MAIN = "import sys\ndef main():\n    print('agent', sys.argv[1:], sys.prefix)\n    return 7\n"


@pytest.fixture
def made(tmp_path: Path) -> Environment:
    """An environment with a tiny agent in it, as an installer leaves one."""
    site = tmp_path / "env" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for name, text in {
        "agent/__init__.py": "",
        "agent/cli.py": MAIN,
        "pip/__init__.py": "",
        "pip-24.0.dist-info/METADATA": "",
        "pipx_shared.pth": "/home/me/.local/share/pipx/shared\n",
        "closed.py": "x = 1\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    (site / "closed.py").chmod(0o600)
    return Environment(tmp_path / "env", site, BASE, False, site.resolve(), "1.2.3")


def laid(made: Environment, layout: Layout) -> str:
    name = release.release_name(made)
    release.lay_release(made, layout, name)
    return name


def test_a_release_runs_from_wherever_it_lies(made: Environment, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    name = laid(made, layout)
    layout.point(layout.current, name)
    assert name.startswith("1.2.3-")
    assert layout.laid() == [name] == [layout.named_by(layout.current)]
    moved = (tmp_path / "root").rename(tmp_path / "another place")
    program = Layout(moved).program(Layout(moved).current)
    with pytest.raises(InstallFailed, match="exit code 7"):
        run([program, "one", "two words"])
    site = release.site_of(moved / "opt/thresher/releases" / name)
    assert sorted(path.name for path in site.iterdir() if path.suffix) == ["closed.py"]
    assert (site / "closed.py").stat().st_mode & 0o777 == 0o644  # the service is another user
    assert list(site.glob("agent/__pycache__/cli*.pyc"))


def test_the_name_follows_the_content_and_nothing_else(made: Environment) -> None:
    before = release.release_name(made)
    (made.site / "agent/__pycache__").mkdir()
    (made.site / "agent/__pycache__/cli.pyc").write_bytes(b"x")
    os.utime(made.site / "agent/cli.py", (0, 0))
    (made.site / "pip/__init__.py").write_text("another installer")
    assert release.release_name(made) == before
    (made.site / "agent/cli.py").write_text(MAIN + "\n")
    assert release.release_name(made) != before


def test_what_an_interrupted_run_left_is_no_release(made: Environment, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    name = release.release_name(made)
    torn = layout.releases / f"{release.MAKING}{name}" / "bin"
    torn.mkdir(parents=True)
    (torn / "thresher-agent").write_text("")
    (layout.releases / name).mkdir()  # and this one was taken apart by hand
    assert layout.laid() == []
    assert laid(made, layout) == name
    assert layout.laid() == [name]


def test_two_releases_are_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for age, name in enumerate(("d", "c", "b", "a")):
        (layout.releases / name / "bin").mkdir(parents=True)
        os.utime(layout.releases / name, (1000 - age, 1000 - age))
    (layout.releases / f"{release.MAKING}x").mkdir()
    assert sorted(release.prune(layout, ["a", ""])) == [".making-x", "b", "c"]
    assert sorted(path.name for path in layout.releases.iterdir()) == ["a", "d"]
    assert release.prune(layout, ["a", "d"]) == []


def test_no_room_is_said_before_anything_is_copied(
    made: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "DISK_MARGIN_BYTES", 2**62)
    layout = Layout(tmp_path / "root")
    with pytest.raises(DiskFull, match="free some space"):
        laid(made, layout)
    assert list(layout.releases.iterdir()) == []


# --- which environments will do ------------------------------------------------------------------------------------


def test_a_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstallRefused, match="checkout or an editable install"):
        check_environment(running_environment(), Layout(tmp_path))


def test_the_systems_python_is_refused(made: Environment, tmp_path: Path) -> None:
    system = Environment(Path(sys.base_prefix), made.site, BASE, False, made.site, "1")
    with pytest.raises(InstallRefused, match="pipx install"):
        check_environment(system, Layout(tmp_path))


def test_an_interpreter_in_a_home_is_refused_but_for_a_tree(
    made: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.install.environment.is_editable", lambda: False)
    at_home = Environment(made.prefix, made.site, Path("/home/me/python/bin/python3"), False, made.package, "1")
    with pytest.raises(InstallRefused, match="--python /usr/bin/python3") as refused:
        check_environment(at_home, Layout())
    assert "`UV_PYTHON_INSTALL_DIR=/opt/python uv python install 3.12`" in str(refused.value)
    (warning,) = check_environment(at_home, Layout(tmp_path))
    assert "/home" in warning
    system = Environment(made.prefix, made.site, Path("/usr/bin/python3"), False, made.package, "1")
    assert check_environment(system, Layout()) == []


def test_packages_that_lie_elsewhere_are_found(made: Environment) -> None:
    assert foreign_paths(made.site) == []  # pipx's own is known
    (made.site / "dev.pth").write_text(f"import os\n{made.site}/inside\n/srv/checkout\n")
    assert foreign_paths(made.site) == ["/srv/checkout"]


# --- steps -----------------------------------------------------------------------------------------------------------


def test_steps_are_told_and_a_dry_run_does_none() -> None:
    told: list[Step] = []
    done: list[str] = []
    for dry_run in (True, False):
        progress = Progress(told.append, dry_run)
        progress.step("one", "x", lambda: done.append("one"))
        progress.step("two", "y", None)
    assert [(step.name, step.outcome) for step in told] == [
        ("one", "would"),
        ("two", "kept"),
        ("one", "done"),
        ("two", "kept"),
    ]
    assert done == ["one"]


def test_a_step_that_the_system_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InstallFailed, match="state"):
        Progress(lambda _: None).step("state", "x", lambda: (tmp_path / "file" / "below").mkdir())


def test_a_link_is_exchanged_whatever_lies_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.home.mkdir(parents=True)
    assert layout.named_by(layout.current) == ""
    (layout.home / "current.new").symlink_to("left-by-an-interrupted-run")
    for name in ("a", "b", "b"):
        layout.point(layout.current, name)
        assert layout.named_by(layout.current) == name
    assert os.readlink(layout.current) == "releases/b"
