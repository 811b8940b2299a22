"""What a library writes to stderr while it is called, for the message of an error: some give their reason nowhere else.

with overheard() as words:
    session = make()
words.text()
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MOST_BYTES = 64 * 1024
MOST_CHARACTERS = 400
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NOT_SAID = re.compile(r"^\d{4}-\d\d-\d\d \S+ \[\w:\S+, [^\]]+\] ")
"""When, how bad and where in ONNX Runtime's source: what stands in front of each of its lines."""


class Words:
    """What was written."""

    def __init__(self) -> None:
        self.content = b""

    def text(self) -> str:
        """Return it in one line, without colours and places in a source."""
        lines = _COLOURS.sub("", self.content.decode(errors="replace")).splitlines()
        kept = [_NOT_SAID.sub("", line).strip() for line in lines]
        return "; ".join(dict.fromkeys(line for line in kept if line))[:MOST_CHARACTERS]


@contextmanager
def overheard() -> Iterator[Words]:
    """Keep what this process writes to stderr, and write it there afterwards as well."""
    words, sys_error = Words(), sys.stderr
    sys_error.flush()
    usual, kept = os.dup(2), os.memfd_create("overheard")
    os.dup2(kept, 2)
    try:
        yield words
    finally:
        sys_error.flush()
        os.dup2(usual, 2)
        os.lseek(kept, 0, os.SEEK_SET)
        words.content = os.read(kept, MOST_BYTES)
        os.write(usual, words.content)
        os.close(kept)
        os.close(usual)
