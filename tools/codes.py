"""Find every reason code that the code gives, by convention: a code travels under the names `code` and `reason` only.

Decides: what counts as giving a code, and what cannot be followed (which a test refuses, so that no code is missed).
Leaves out: what codes mean (`docs/reference/codes.toml`) and the classes whose `reason` explains itself (`source.py`).

A code is a constant that is passed as `code` or `reason` (by keyword, or in the place of a parameter or field of that
name), assigned to such a name, returned by a function whose name ends in `_reason`, or stands in front of a trial's
error text ("pause_spent: the longest pause …").
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from tools.source import ROOT, Source, sources

PACKAGES = ("agent", "controller", "simulator")
NAMES = frozenset({"code", "reason"})
CALLED_AS = {("agent/daemon.py", "tell"): ("agent/supervise/serving.py", "_tell")}
"""(file, function) -> the file and the attribute under which that one keeps and calls it."""
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PREFIX = re.compile(r"([a-z][a-z0-9]*(?:_[a-z0-9]+)+): ")
_TEXT_FOLDERS = ("agent/plan/", "agent/measure/")
"""Where trials' error texts are made; elsewhere a word before a colon is mostly a field's name."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Found:
    """Code -> the files that give it; and the places whose code cannot be told from the text."""

    codes: dict[str, set[str]] = field(default_factory=dict)
    unclear: list[str] = field(default_factory=list)

    def take(self, source: Source, value: ast.expr) -> None:
        """Note the codes that `value` may be."""
        for part in _parts(value):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                self._add(f"{source.name}:{part.lineno}", source.name, part.value)
            elif not _passes_on(part):
                self.unclear.append(f"{source.name}:{part.lineno}: {ast.unparse(part)}")

    def _add(self, place: str, file: str, value: str) -> None:
        if _CODE.fullmatch(value):
            self.codes.setdefault(value, set()).add(file)
        elif value:
            self.unclear.append(f"{place}: {value!r} is no reason code")


@cache
def find() -> Found:
    """Return every code of the packages, and what is unclear."""
    found = Found()
    files = list(sources(*PACKAGES))
    places = places_of(files)
    for source in files:
        look_through(source, places, found)
    for outcome in _outcomes():
        found.codes.setdefault(outcome, set()).add("wire/trial.py")
    return found


def look_through(source: Source, places: dict[str, dict[str, list[int]]], found: Found) -> None:
    """Note every code that a file gives; `places` as `places_of` returns them."""
    codes_are_reasons = "code=code" in source.text
    makes_texts = source.name.startswith(_TEXT_FOLDERS)
    for node in ast.walk(source.tree):
        for value in (*_given(source, node, places), *_assigned(node, codes_are_reasons), *_answered(node)):
            found.take(source, value)
        for code in _prefix(node) if makes_texts else ():
            found.codes.setdefault(code, set()).add(source.name)


def codes() -> dict[str, list[str]]:
    """Return code -> the files that give it, both sorted."""
    return {code: sorted(files) for code, files in sorted(find().codes.items())}


def places_of(files: list[Source]) -> dict[str, dict[str, list[int]]]:
    """Return callable (with a dot in front where it is called on something) -> file -> positions that take a code."""
    found: dict[str, dict[str, list[int]]] = {}
    for source in files:
        for node in ast.walk(source.tree):
            if not isinstance(node, Function | ast.ClassDef) or node.name == "__init__":
                continue
            names = _fields(node) if isinstance(node, ast.ClassDef) else _text_parameters(node)
            positions = [place for place, each in enumerate(names) if each in NAMES]
            if positions:
                file, name = CALLED_AS.get((source.name, node.name), (source.name, node.name))
                for each in (f".{name}",) if _is_method(node) else (name, f".{name}"):
                    found.setdefault(each, {})[file] = positions
    return found


def _is_method(node: Function | ast.ClassDef) -> bool:
    return isinstance(node, Function) and [each.arg for each in node.args.args[:1]] in (["self"], ["cls"])


def _text_parameters(function: Function) -> list[str]:
    """Return the positional parameters without `self`; those that cannot be a reason lose their name."""
    arguments = function.args.posonlyargs + function.args.args
    names = [each.arg if _may_be_reason(each.annotation) else "" for each in arguments]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _fields(node: ast.ClassDef) -> list[str]:
    made = next((each for each in node.body if isinstance(each, Function) and each.name == "__init__"), None)
    if made is not None:
        return _text_parameters(made)
    return [
        each.target.id if _may_be_reason(each.annotation) else ""
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    ]


def _may_be_reason(annotation: ast.expr | None) -> bool:
    """Whether what is called a code or a reason could be one: whole numbers are exit codes, and Python has code too."""
    return annotation is None or ast.unparse(annotation) not in ("int", "CodeType")


def _given(source: Source, node: ast.AST, places: dict[str, dict[str, list[int]]]) -> Iterator[ast.expr]:
    if not isinstance(node, ast.Call):
        return
    yield from (each.value for each in node.keywords if each.arg in NAMES)
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    known = places.get(f".{name}" if isinstance(node.func, ast.Attribute) else name, {})
    # A private name means the function beside it; a public one may come from any file.
    private = name.startswith("_")
    here = [known[source.name]] if source.name in known else [] if private else list(known.values())
    for place in {position for positions in here for position in positions}:
        if place < len(node.args) and not isinstance(node.args[place], ast.Starred):
            yield node.args[place]


def _assigned(node: ast.AST, codes_are_reasons: bool) -> Iterator[ast.expr]:
    """Yield what is assigned to a variable `reason`, and to `code` where a file hands that on as a reason code."""
    if not isinstance(node, ast.Assign):
        return
    for left in node.targets:
        pairs = [(left, node.value)]
        if isinstance(left, ast.Tuple) and isinstance(node.value, ast.Tuple) and not _has_star(node):
            pairs = list(zip(left.elts, node.value.elts, strict=True))
        for name, value in pairs:
            wanted = NAMES if codes_are_reasons else {"reason"}
            if isinstance(name, ast.Name) and name.id in wanted and not _is_exit_code(value):
                yield value


def _has_star(node: ast.Assign) -> bool:
    """Whether an assignment takes or gives a number of values that its text does not tell."""
    return any(isinstance(each, ast.Starred) for each in ast.walk(node))


def _answered(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a function returns whose name says that it answers with a reason."""
    if isinstance(node, Function) and node.name.endswith("_reason"):
        yield from (each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value)


def _is_exit_code(value: ast.expr) -> bool:
    """Whether a value is what a process ended with."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in ("wait", "poll")


def _prefix(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := _PREFIX.match(node.value)):
        yield found[1]


def _parts(value: ast.expr) -> Iterator[ast.expr]:
    match value:
        case ast.IfExp(body=first, orelse=second):
            yield from (*_parts(first), *_parts(second))
        case ast.BoolOp(values=values):
            for each in values:
                yield from _parts(each)
        case _:
            yield value


def _passes_on(part: ast.expr) -> bool:
    """Whether a value is a code from elsewhere: of the name, a state's value, a record's outcome, or none."""
    match part:
        case ast.JoinedStr(values=values):
            return all(_passes_on(each.value) for each in values if isinstance(each, ast.FormattedValue))
        case ast.Constant(value=None):
            return True
        case ast.Name(id=name):
            return name in NAMES
        case ast.Attribute(attr=name):
            return name in NAMES | {"outcome", "value"}
        case ast.Call(func=ast.Name(id=name)) if name.endswith("_reason"):
            return True
        case ast.Call(func=ast.Name(id="str"), args=[inner]):
            return _passes_on(inner) or "reason" in ast.unparse(inner)
        case _:
            return False


def _outcomes() -> list[str]:
    """Return a trial's outcomes, which are the reasons of its events."""
    tree = ast.parse((ROOT / "wire" / "trial.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "outcome":
            return [each.value for each in ast.walk(node.annotation) if isinstance(each, ast.Constant)]  # type: ignore[misc]
    raise LookupError("wire/trial.py names no outcomes")
