"""Every command of both command lines answers `--help` with a sentence, documents its options, and loads lazily."""

import subprocess
import sys

import click
import pytest

from agent.cli import entry as agent
from agent.cli import main as agent_main
from controller.cli.entry import cli as controller
from controller.cli.entry import main as controller_main
from simulator.cli import entry as simulator
from tools.commands import help_of, walk

HEAVY = ("alembic", "numba", "numpy", "onnx", "onnxruntime", "plotly", "rich", "scipy", "sqlalchemy")


ALL = [*walk(agent, ("agent",)), *walk(controller, ("controller",)), *walk(simulator, ("simulator",))]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_a_command_says_what_it_does(path: tuple[str, ...], command: click.Command) -> None:
    text = help_of(path, command)
    first = (command.help or "").strip().split("\n\n")[0]
    assert len(first) > 15, f"{' '.join(path)} has no help"
    assert first.endswith((".", ":")), first
    assert f"Usage: {' '.join(path)}" in text


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_option_says_what_it_is_for(path: tuple[str, ...], command: click.Command) -> None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help and not option.hidden] == [], " ".join(path)


def test_every_command_that_is_listed_is_there() -> None:
    for path, command in ALL:
        if isinstance(command, click.Group):
            listed = command.list_commands(click.Context(command))
            assert [name for name in listed if not any(other == (*path, name) for other, _ in ALL)] == []


@pytest.mark.parametrize("name", ["agent", "controller", "simulator"])
def test_help_loads_nothing_heavy(name: str) -> None:
    code = (
        f"import sys\nsys.argv = [{name!r}, '--help']\nfrom {name}.cli import main\n"
        "try: main()\nexcept SystemExit as exc: assert not exc.code\n"
        f"print('loaded', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "loaded []"


@pytest.mark.parametrize("name", ["agent", "controller", "simulator"])
def test_an_unknown_command_is_a_usage_error(name: str) -> None:
    ended = subprocess.run([sys.executable, "-m", name, "no-such-command"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no-such-command" in ended.stderr


def test_the_exit_code_that_a_command_sets_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command("doctor")
    def unwell() -> None:
        raise click.exceptions.Exit(1)

    monkeypatch.setattr("agent.cli.doctor.command", unwell)
    monkeypatch.setattr("controller.cli.commands.doctor.doctor", unwell)
    for main in (agent_main, controller_main):
        with pytest.raises(SystemExit) as ended:
            main(["doctor"])
        assert ended.value.code == 1, main.__module__
