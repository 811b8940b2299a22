"""What the documents point to is there: relative links and their headings, and every command line with its options."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agent.cli import entry as agent
from controller.cli.entry import cli as controller
from simulator.cli import entry as simulator
from tools.source import ROOT, sources

PROGRAMS: dict[str, click.Group] = {
    "agent": agent,
    "controller": controller,
    "thresher-agent": agent,
    "thresher-controller": controller,
    "simulator": simulator,
}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*/*.md"), *ROOT.glob("locks/*.md")])
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TYPED = re.compile(r"^(?:\$ | {4})?((?:(?:thresher-)?(?:agent|controller)|simulator) .+)$")
ELSEWHERE = re.compile(r"^[a-z]+:")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    return SPAN.sub("", FENCE.sub("", text))


def broken_links(path: Path) -> Iterator[str]:
    for link in LINK.findall(prose(path.read_text(encoding="utf-8"))):
        if ELSEWHERE.match(link):
            continue
        place, _, heading = link.partition("#")
        to = (path.parent / place).resolve() if place else path
        if not to.exists() or not to.is_relative_to(ROOT):
            yield f"{link}: nothing is there"
        elif heading and heading not in headings(to):
            yield f"{link}: no such heading"


def headings(path: Path) -> set[str]:
    """Return the anchors of a page as hosts of Markdown make them."""
    lines = FENCE.sub("", path.read_text(encoding="utf-8")).splitlines()
    titles = [line.lstrip("#").strip() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    assert list(broken_links(path)) == []


def test_every_page_of_the_documents_can_be_reached() -> None:
    start = ROOT / "README.md"
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        links = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
        for to in {(page.parent / link).resolve() for link in links if link and not ELSEWHERE.match(link)}:
            found = sorted(to.glob("*.md")) if to.is_dir() else [to]
            fresh = [each for each in found if each.suffix == ".md" and each not in seen and each.is_file()]
            seen.update(fresh)
            waiting += fresh
    assert sorted(name(page) for page in ROOT.glob("docs/**/*.md") if page not in seen) == []


def typed_lines(path: Path) -> Iterator[str]:
    """Yield the command lines in code blocks."""
    text = path.read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in FENCE.findall(text)]
    indented = [line for line in FENCE.sub("", text).splitlines() if line.startswith("    ")]
    for line in [each for block in blocks for each in block] + indented:
        if found := TYPED.match(line):
            yield found[1].partition("  #")[0].strip().removesuffix("&").strip()


def mentioned(path: Path) -> Iterator[str]:
    """Yield the commands in a page's running text."""
    yield from mentions(FENCE.sub("", path.read_text(encoding="utf-8")))


def mentions(text: str) -> Iterator[str]:
    """Yield the commands between backticks; `a|b` stands for each of both."""
    for span in SPAN.findall(" ".join(text.split("\n"))):
        if not re.match(r"(?:thresher-)?(?:agent|controller) [a-z-]", span):
            continue
        head, *words = re.sub(r"[\[\]]", " ", span).split()
        for each in words[1].split("|") if len(words) > 1 and "|" in words[1] else [None]:
            yield " ".join([head, *(words if each is None else [words[0], each, *words[2:]])])


def leaf_of(words: list[str]) -> tuple[click.Command, list[click.Command], list[str]]:
    """Return the command that is called, all commands on the way to it, and the words that are left for it."""
    command: click.Command = PROGRAMS[words[0]]
    way, rest = [command], words[1:]
    while isinstance(command, click.Group):
        while rest and rest[0].startswith("--"):
            known = next((each for each in command.params if rest[0] in each.opts), None)
            assert known is not None or rest[0] in ("--help", "--version"), f"{words[0]} has no option {rest[0]}"
            rest = rest[1 if getattr(known, "is_flag", False) else 2 :]
        if not rest or not re.fullmatch(r"[a-z][a-z-]*", rest[0]):
            break
        below = command.get_command(click.Context(command), rest[0])
        assert below is not None, f"{' '.join(words)}: no command {rest[0]}"
        command, rest = below, rest[1:]
        way.append(command)
    return command, way, rest


def check_typed(line: str) -> None:
    command, _, rest = leaf_of(shlex.split(line))
    assert not isinstance(command, click.Group), f"{line}: which command?"
    command.make_context(command.name or "", rest)


def check_mentioned(text: str) -> None:
    _, way, rest = leaf_of(text.split())
    known = {option for command in way for parameter in command.params for option in parameter.opts} | {"--help"}
    assert [word for word in rest if word.startswith("--") and word not in known] == [], text


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_command_is_there_with_its_options(path: Path) -> None:
    for line in typed_lines(path):
        check_typed(line)
    for text in mentioned(path):
        check_mentioned(text)


def test_services_start_commands_that_are_there() -> None:
    units = sorted((ROOT / "systemd").glob("*.service"))
    for unit in units:
        text = unit.read_text(encoding="utf-8")
        starts = re.findall(r"^ExecStart(?:Pre)?=(.+)$", text, re.MULTILINE)
        assert len(starts) >= 2, f"{unit.name}: a command before the start, and the start"
        # The unit's own comment says what its variable holds.
        given = dict(re.findall(r"\((\w+)=([^)]+)\)", text))
        for start in starts:
            line = start
            for variable, value in given.items():
                line = line.replace(f"${variable}", value)
            program, _, rest = line.partition(" ")
            check_typed(f"{Path(program).name} {rest}")


def test_commands_were_found_and_wrong_ones_are_refused() -> None:
    assert sum(len(list(typed_lines(path))) for path in PAGES) > 20
    assert sum(len(list(mentioned(path))) for path in PAGES) > 20
    for wrong in (
        "controller deploi --fleet f",
        "controller deploy --fleet f --colour",
        "controller deploy",
        "agent run",
    ):
        with pytest.raises((AssertionError, click.ClickException)):
            check_typed(wrong)
    for wrong in ("controller model explode", "agent run --colour red"):
        with pytest.raises(AssertionError):
            check_mentioned(wrong)


def test_commands_that_messages_and_docstrings_name_are_there() -> None:
    wrong = []
    for source in sources("agent", "controller", "wire"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                wrong += [f"{source.name}:{node.lineno}: {fault}" for fault in faulty_mentions(node.value)]
    assert wrong == []


def faulty_mentions(text: str) -> Iterator[str]:
    for words in mentions(text):
        try:
            check_mentioned(words)
        except AssertionError as exc:
            yield str(exc).splitlines()[0]
