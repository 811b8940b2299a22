"""The rules of the house that no linter knows: sizes, words, hosts, documented codes, commands that exist."""

import ast
import hashlib
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.reference import pages, undocumented
from tools.source import PACKAGES, PYTHON_FOLDERS, ROOT, Source, error_classes, functions, lines_of, sources

LONGEST_FILE_LINES = 400
MEDIAN_FUNCTION_LINES = 15
MOST_POSITIONAL = 5
MOST_MODULES = 10
EXCUSE = "reason for its length"
ONE_LIST = {"wire": "the protocol is read as one list of message families"}
"""Folders that hold more modules, each with its reason."""

SOURCES = list(sources(*PYTHON_FOLDERS))
PRODUCT = [source for source in SOURCES if source.name.split("/")[0] in PACKAGES]

MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:w[o]rk|f[a]rm|r[o]ot)/|\.\./shared")
HOST = re.compile(r"\b(?:[a-z0-9-]+\.)+[a-z]{2,6}\b", re.IGNORECASE)
# The first 16 digits of SHA-256 of package registries' hosts: the list must not name them either.
REGISTRIES = {
    "0dc11026ac75c015",
    "1ba4e37997a2e986",
    "3aa282eb004de296",
    "3ca29e55be4befa4",
    "5cd04dc6512f5c57",
    "8b5bb5eb9d758455",
    "9495278a74715c7e",
    "a4aa2ac280bb8d1a",
    "c899567ee9068517",
    "e680c440a2e92079",
}
TEXT = {
    ".cfg",
    ".css",
    ".html",
    ".json",
    ".mako",
    ".md",
    ".py",
    ".service",
    ".sh",
    ".svg",
    ".toml",
    ".txt",
    ".yaml",
    "",
}
BROAD = {"Exception", "BaseException"}
WORDS_IN_NAMES = re.compile(r"(?:^|_)(?:helpers?|utils?|managers?|handlers?|jobs?|tasks?|nodes?)(?:_|$)")


def committed_files() -> Iterator[Path]:
    """Yield what is, or would be, committed: files that git does not ignore; all files where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        yield from (ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())
        return
    tops = [*PYTHON_FOLDERS, "docs", "locks", "configs", "systemd"]
    yield from (path for top in tops for path in (ROOT / top).rglob("*") if path.is_file())


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_no_file_is_long_without_a_reason() -> None:
    long = [source.name for source in SOURCES if source.text.count("\n") > LONGEST_FILE_LINES]
    excused = {source.name for source in SOURCES if EXCUSE in (ast.get_docstring(source.tree) or "")}
    assert [name for name in long if name not in excused] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package: str) -> None:
    lengths = [lines_of(function) for source in sources(package) for function in functions(source)]
    assert len(lengths) > 20
    assert statistics.median(lengths) <= MEDIAN_FUNCTION_LINES


def test_functions_take_few_positional_arguments() -> None:
    many = [
        f"{source.name}:{function.lineno} {function.name}"
        for source in PRODUCT
        for function in functions(source)
        if len(positional(function)) > MOST_POSITIONAL and not function.decorator_list
    ]
    # Decorated ones are called by what decorates them: click passes names, numba a fixed layout.
    assert many == []


def positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    names = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def test_folders_hold_few_modules() -> None:
    modules: dict[str, int] = {}
    for source in PRODUCT:
        folder = str(Path(source.name).parent)
        modules[folder] = modules.get(folder, 0) + (not source.path.name.startswith("__"))
    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES and folder not in ONE_LIST} == {}


def test_every_module_says_what_it_is_for() -> None:
    written = [source for source in SOURCES if not source.name.startswith("tests/") and source.tree.body]
    silent = [source.name for source in written if not ast.get_docstring(source.tree)]
    assert silent == []


def test_modules_and_classes_are_named_by_what_they_do() -> None:
    names = [(source.name, source.path.stem) for source in PRODUCT]
    classes = [
        (source.name, snake(item.name))
        for source in PRODUCT
        for item in ast.walk(source.tree)
        if isinstance(item, ast.ClassDef)
    ]
    assert [pair for pair in names + classes if WORDS_IN_NAMES.search(pair[1])] == []


def test_only_one_module_spells_topics() -> None:
    spelled = [
        f"{source.name}:{item.lineno}"
        for source in PRODUCT
        if source.name != "wire/topics.py"
        for item in ast.walk(source.tree)
        if isinstance(item, ast.Constant) and isinstance(item.value, str) and item.value.startswith("thresher/1")
    ]
    assert spelled == []


def test_broad_excepts_swallow_nothing() -> None:
    """`except Exception` logs with the traceback, raises, or carries its reason in a comment beside it."""
    assert [place for source in PRODUCT for place in silent_excepts(source)] == []


def silent_excepts(source: Source) -> Iterator[str]:
    lines = source.text.splitlines()
    for item in ast.walk(source.tree):
        if isinstance(item, ast.ExceptHandler) and (item.type is None or ast.unparse(item.type) in BROAD):
            body = "\n".join(ast.unparse(statement) for statement in item.body)
            reason = any("#" in line for line in lines[item.lineno - 2 : item.lineno + 1])
            if not (reason or "raise" in body or ".exception(" in body):
                yield f"{source.name}:{item.lineno}"


def test_every_code_and_exit_code_is_documented() -> None:
    assert undocumented() == []
    for name, text in pages().items():
        path = ROOT / "docs" / name
        written = path.read_text(encoding="utf-8") if path.is_file() else ""
        assert written == text, f"docs/{name} is out of date: run  make docs"


def test_every_error_class_is_on_the_page_of_reasons() -> None:
    page = (ROOT / "docs" / "reference" / "reasons.md").read_text(encoding="utf-8")
    assert len(error_classes()) > 20
    assert [error.name for error in error_classes() if f"| `{error.reason}` | {error.package} |" not in page] == []


def test_commands_that_the_documents_name_are_in_the_makefile() -> None:
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    pages_read = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "locks").glob("*.md")]
    named = {
        name
        for page in pages_read
        for name in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)
    }
    assert {"demo", "test"} <= named
    assert named <= rules


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not (page.parent / link).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {link}")
    assert broken == []


def test_no_file_names_this_machine_or_a_registry() -> None:
    assert [place for path in committed_files() for place in faulty_lines(path)] == []


def faulty_lines(path: Path) -> Iterator[str]:
    if path.suffix not in TEXT:
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATH.search(line) or names_a_registry(line):
            yield f"{path.relative_to(ROOT)}:{number}"


def names_a_registry(line: str) -> bool:
    if "." not in line or "--hash=" in line:
        return False
    return any(hashlib.sha256(host.lower().encode()).hexdigest()[:16] in REGISTRIES for host in HOST.findall(line))


def test_the_search_for_hosts_finds_one() -> None:
    assert names_a_registry("see https://" + "py" + "pi.org/simple")
    assert MACHINE_PATH.search("cd /w" + "ork/main")


def test_nothing_is_left_to_be_written() -> None:
    unfinished = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "Not" + "ImplementedError", "place" + "holder"]))
    assert [source.name for source in PRODUCT if unfinished.search(source.text)] == []


def test_locks_are_complete_and_name_no_index() -> None:
    locks = sorted((ROOT / "locks").glob("**/*-py3.*.txt"))
    assert {path.stem.rsplit("-", 1)[1] for path in locks} == {"py3.11", "py3.12", "py3.13"}
    for path in locks:
        text = path.read_text()
        pinned = re.findall(
            r"^([a-z0-9][a-z0-9._-]*)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", text, flags=re.MULTILINE
        )
        lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        fewest = 2 if path.parent.name == "probe" else 5  # an emulated processor gets the engines alone
        assert len(pinned) == len(lines) > fewest, path.name
        assert "-index" not in text, path.name
        assert "find-links" not in text, path.name


@pytest.mark.parametrize("lock", ["train-py3.11.txt", "converters/torch-py3.11.txt"])
def test_the_locks_of_torch_carry_both_builds_and_no_accelerator_library(lock: str) -> None:
    text = (ROOT / "locks" / lock).read_text()
    cpu = re.findall(
        r"^torch==2\.13\.0\+cpu --hash=(\S+)", (ROOT / "locks" / "torch-cpu.txt").read_text(), re.MULTILINE
    )
    block = text.split("\ntorch==2.13.0 ")[1].split("# via")[0]
    assert len(cpu) == 1
    assert cpu[0] in block
    assert len(re.findall("--hash=", block)) > 5
    assert re.findall(r"^(?:nvidia|cuda|triton)", text, flags=re.MULTILINE) == []
