"""One error, one message, one exit code; text from the network cannot steer the terminal."""

import errno
import re
from pathlib import Path

import click
import pytest

from controller import errors
from controller.cli.failures import exit_code_of
from controller.cli.output import bytes_text, clean, print_table, shown

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ControllerError) and kind is not errors.ControllerError
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_has_its_exit_code(kind: type[errors.ControllerError], capsys: pytest.CaptureFixture[str]) -> None:
    failure = kind("what was wrong")
    failure.add_note("how to go on")
    assert exit_code_of(failure) == kind.exit_code
    assert capsys.readouterr().err == "error: what was wrong\nhow to go on\n"


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/x"), 12, "/srv/x"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), 3, "/srv/x: Permission denied"),
        (click.UsageError("no such option"), 2, "no such option"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
    ],
)
def test_other_failures(failure: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(failure) == code
    assert said in capsys.readouterr().err


def test_how_to_go_on_is_said_after_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    interrupt = KeyboardInterrupt()
    interrupt.add_note("`controller deploy` goes on")
    abort = click.Abort()  # what click makes of it
    abort.__cause__ = interrupt
    assert exit_code_of(abort) == 130
    assert capsys.readouterr().err == "interrupted\n`controller deploy` goes on\n"


def test_the_unexpected_is_short_and_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        raise ZeroDivisionError("a fault of ours")
    assert exit_code_of(raised.value) == 1
    shown_text = capsys.readouterr().err
    assert shown_text.startswith("error: unexpected ZeroDivisionError: a fault of ours\n")
    path = re.search(r"the traceback is in (\S+)", shown_text)
    assert path is not None
    kept = Path(path[1])
    assert "a fault of ours" in kept.read_text()
    kept.unlink()


@pytest.mark.parametrize(("raw", "safe"), [("barn\x1b[31m-1", "barn?[31m-1"), ("a\rb", "a?b"), ("ä°C", "ä°C")])
def test_control_characters_never_reach_the_terminal(raw: str, safe: str) -> None:
    assert clean(raw) == safe


def test_hostile_names_in_tables(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("device",), [["[red]barn[/red]\x1b]0;title\x07"]])
    printed = capsys.readouterr().out
    assert "[red]barn[/red]" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("count", "text"), [(None, None), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**3, "5.0 GiB")]
)
def test_sizes(count: int | None, text: str | None) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (True, "yes"), (0.12345, "0.123"), (12345.6, "12346"), (3, "3")]
)
def test_cells(value: object, text: str) -> None:
    assert shown(value) == text
