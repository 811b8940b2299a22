"""Read the project's own Python as syntax trees, without importing it: functions, error classes, measuring flags.

Decides: what counts as a function and an error class. Leaves out: reason codes (`tools/codes.py`), the rules about
them (`tests/contract`) and the pages made of them (`tools/reference.py`).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("agent", "controller", "simulator", "wire")
PYTHON_FOLDERS = (*PACKAGES, "benchmarks", "models", "tests", "tools")


@dataclass(frozen=True)
class Source:
    """One file and its syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @cached_property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class ErrorClass:
    """A class with a `reason`; `exit_code` is inherited where the class has none, and null in `wire`."""

    name: str
    package: str
    reason: str
    exit_code: int | None
    meaning: str


def sources(*folders: str) -> Iterator[Source]:
    """Yield the Python files below the named folders of the repository, those that exist."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield _source(path)


@cache
def _source(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(path, text, ast.parse(text))


def attribute_docstrings(path: str) -> dict[tuple[str, str], str]:
    """Return (class, attribute) -> the text that stands below the attribute, as one line."""
    found = {}
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for each in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for attribute, text in zip(each.body, each.body[1:], strict=False):
            if isinstance(attribute, ast.AnnAssign) and isinstance(text, ast.Expr):
                meaning = getattr(text.value, "value", None)
                if isinstance(meaning, str):
                    found[each.name, ast.unparse(attribute.target)] = " ".join(meaning.split())
    return found


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method of a file, inner ones too."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the length of a function without its docstring [lines]: what is said about it costs nothing."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        whole -= (first.end_lineno or first.lineno) - first.lineno + 1
    return whole


@cache
def error_classes() -> tuple[ErrorClass, ...]:
    """Return the classes of the packages that carry a reason, in the order of their exit codes."""
    found: dict[tuple[str, str], ErrorClass] = {}
    for source in _errors_first(sources(*PACKAGES)):
        package = source.name.split("/")[0]
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and (reason := _constant(node, "reason")) is not None:
                exit_code = _constant(node, "exit_code") or _inherited(found, package, node)
                meaning = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                code = exit_code if isinstance(exit_code, int) else None
                found[package, node.name] = ErrorClass(node.name, package, str(reason), code, meaning)
    return tuple(sorted(found.values(), key=lambda error: (error.exit_code or 0, error.package, error.reason)))


def measuring_flags() -> dict[str, tuple[str, bool]]:
    """Return flag -> (remedy, whether it makes a trial's speed unusable), as the measuring flags list them."""
    path = ROOT / "agent" / "measure" / "flags.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        name = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(name, ast.Name) and name.id == "REMEDIES" and isinstance(node, ast.AnnAssign | ast.Assign):
            flags: dict[str, tuple[str, bool]] = ast.literal_eval(node.value) if node.value else {}
            return flags
    raise LookupError(f"{path} holds no REMEDIES")


def _errors_first(files: Iterator[Source]) -> list[Source]:
    return sorted(files, key=lambda source: (source.path.name != "errors.py", source.name))


def _constant(node: ast.ClassDef, name: str) -> object:
    for statement in node.body:
        if isinstance(statement, ast.Assign) and [ast.unparse(left) for left in statement.targets] == [name]:
            return ast.literal_eval(statement.value) if isinstance(statement.value, ast.Constant) else None
    return None


def _inherited(found: dict[tuple[str, str], ErrorClass], package: str, node: ast.ClassDef) -> int | None:
    bases = (found.get((package, ast.unparse(base))) for base in node.bases)
    return next((base.exit_code for base in bases if base is not None), None)
