"""What a failure looks like at the terminal: one message, one exit code.

Exit codes: 0 ok, 1 unexpected, 2 usage, 3 configuration invalid, 4 not found, 5 model or data unusable, 6 broker
unreachable or refused, 7 no device present, 8 no feasible variant, 9 busy, 10 rollout failed, 11 trust, 12 disk,
15 a comparison's answer is "slower", 16 it has none, 130 interrupted.
"""

import errno
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click

from controller.errors import ConfigurationError, ControllerError, DiskFull

UNEXPECTED = 1
SLOWER = 15
NO_VERDICT = 16
INTERRUPTED = 130


def exit_code_of(failure: BaseException) -> int:
    """Tell the user what went wrong and return the exit code for it."""
    if isinstance(failure, click.exceptions.Exit):
        return failure.exit_code
    if isinstance(failure, click.ClickException):
        failure.show()
        return failure.exit_code
    if isinstance(failure, SystemExit):
        return failure.code if isinstance(failure.code, int) else UNEXPECTED
    if isinstance(failure, KeyboardInterrupt | click.Abort):
        return _interrupted(failure)
    if isinstance(failure, BrokenPipeError):
        # The reader of our output has gone (`| head`). Point stdout elsewhere, or the final flush raises again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    known = _as_known(failure)
    if known is None:
        return _unexpected(failure)
    click.echo(f"error: {known}", err=True)
    _notes(failure)
    return known.exit_code


def _as_known(failure: BaseException) -> ControllerError | None:
    if isinstance(failure, ControllerError):
        return failure
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no room on the disk of {failure.filename or 'the workspace'}: free some, then run this again")
    if isinstance(failure, OSError) and failure.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and failure.filename:
        return ConfigurationError(f"{failure.filename}: {failure.strerror}: check its owner and permissions")
    if type(failure).__name__ == "OperationalError" and "disk is full" in str(failure):
        return DiskFull("no room on the workspace's disk: free some, then run this again")
    return None


def _interrupted(failure: BaseException) -> int:
    click.echo("interrupted", err=True)
    _notes(failure)
    return INTERRUPTED


def _notes(failure: BaseException) -> None:
    # click turns Ctrl-C into an Abort: what we noted hangs on its cause.
    for each in (failure, failure.__cause__):
        for note in getattr(each, "__notes__", ()):
            click.echo(note, err=True)


def _unexpected(failure: BaseException) -> int:
    folder = Path(tempfile.gettempdir())
    path = folder / f"thresher-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        path.write_text("".join(traceback.format_exception(failure)), encoding="utf-8")
        where = f"the traceback is in {path}"
    except OSError as exc:
        where = f"the traceback could not be written: {exc}"
    first = str(failure).splitlines()[0] if str(failure) else ""
    click.echo(f"error: unexpected {type(failure).__name__}: {first[:300]}\n{where}", err=True)
    return UNEXPECTED
