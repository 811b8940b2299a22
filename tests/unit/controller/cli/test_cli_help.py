"""Every command explains itself, and the list of commands is quick because it imports none of them."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from controller.cli.entry import ENTRIES, cli, run


def _paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _paths(found, (*path, name))


PATHS = list(_paths(cli))


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: {' '.join(('controller', *path))}")
    assert len(shown.splitlines()) >= 5


def test_the_commands_of_the_product_are_there() -> None:
    listed = {" ".join(path) for path in PATHS}
    assert listed >= {
        "init", "doctor", "demo", "deploy", "serve", "broker run", "broker config", "model import", "model list",
        "model show", "model compress", "model converters install", "model converters list", "model converters remove",
        "fleet list", "fleet show", "trial list", "trial show", "rollout list",
        "rollout show", "rollout pause", "rollout resume", "rollout abort", "rollout rollback", "report", "backup",
        "restore", "audit verify", "completion",
    }  # fmt: skip


def _options(path: tuple[str, ...]) -> set[str]:
    command: click.Command | None = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(
    "path", [p for p in PATHS if p and p[-1] in ("list", "show", "verify", "report", "doctor")], ids=" ".join
)
def test_reading_commands_take_json(path: tuple[str, ...]) -> None:
    assert "--json" in _options(path)


CHANGING = [
    ("init",), ("deploy",), ("serve",), ("model", "import"), ("model", "compress"), ("backup",), ("restore",),
    *(("model", "converters", change) for change in ("install", "remove")),
    *(("rollout", wish) for wish in ("approve", "pause", "resume", "abort", "rollback")),
]  # fmt: skip


@pytest.mark.parametrize("path", CHANGING, ids=" ".join)
def test_changing_commands_take_dry_run(path: tuple[str, ...]) -> None:
    assert "--dry-run" in _options(path)


def test_summaries_stand_beside_their_commands() -> None:
    for name, entry in ENTRIES.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.get_short_help_str(200), name
        assert entry.summary.endswith(".")


def test_the_list_of_commands_imports_nothing_heavy() -> None:
    script = (
        "import sys; from controller.cli.entry import run; run(['--help']);"
        "names = {'numpy', 'sqlalchemy', 'pydantic', 'paho', 'rich', 'onnx', 'plotly', 'scipy', 'jinja2'};"
        "heavy = names & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_CONTROLLER_COMPLETE" in capsys.readouterr().out
