"""Run a page of the documentation as it stands: its files are written, its commands are typed, with another port.

A page's blocks: `yaml` and `python` with `file=NAME` are files; `console` has one command a line, after `$ `. Where it
says `in=NAME`, `python` is that of a converter environment.
"""

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.broker.embedded import answers
from tests.e2e.world import ROOT, environment

_BLOCK = re.compile(
    r"^```(?P<kind>yaml|python|console)(?: file=(?P<file>\S+))?(?: in=(?P<where>\S+))?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A file that the page shows, or commands. section: the heading it stands under."""

    kind: str
    text: str
    section: str
    file: str | None = None
    where: str | None = None


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page of `docs`, in its order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        headings = re.findall(r"^## (.+)$", text[: found.start()], re.MULTILINE)
        yield Block(found["kind"], found["text"], headings[-1] if headings else "", found["file"], found["where"])


class Terminal:
    """Runs a page's commands in one folder; those that end in `&` stay until the test is over."""

    def __init__(
        self, folder: Path, port: int, pythons: Mapping[str, Path] | None = None, patience_s: int = 240
    ) -> None:
        self.folder = folder
        self.port = port
        self._pythons = pythons or {}
        self._patience_s = patience_s
        self._background: list[subprocess.Popen[bytes]] = []

    def follow(self, block: Block) -> str:
        """Write the block's file, or run its commands; return what they said."""
        if block.file is not None:
            text = block.text.replace("1883", str(self.port))
            (self.folder / block.file).write_text(text, encoding="utf-8")
            return ""
        said = []
        for line in block.text.splitlines():
            assert line.startswith("$ "), f"not a command: {line}"
            said.append(self.run(line[2:], block.where))
        return "".join(said)

    def run(self, line: str, where: str | None = None) -> str:
        """Run a command to its end, or start it where it ends in `&`; return what it said."""
        words = shlex.split(line.replace("1883", str(self.port)).removesuffix("&"))
        if words[0] == "python":
            command = [str(self._pythons[where]) if where else sys.executable, *words[1:]]
        else:
            command = [sys.executable, "-m", *words]
        if line.endswith("&"):
            self._start(command, line)
            return ""
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=self._patience_s,
            check=False,
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def stop(self) -> None:
        for process in reversed(self._background):
            process.terminate()
        for process in self._background:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, command: list[str], line: str) -> None:
        with (self.folder / "background.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._background.append(process)
        deadline = time.monotonic() + 30
        while "broker run" in line and not answers("127.0.0.1", self.port):
            assert time.monotonic() < deadline, (self.folder / "background.log").read_text()
            time.sleep(0.1)
