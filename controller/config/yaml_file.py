"""Read a YAML file into a pydantic model; every fault names the file, the line, the field, and what to do.

Decides: size and depth bounds, that keys are unique, how a fault is worded. Leaves out: what the fields mean.

    fleet.yaml:14: workloads.main.goals.max_acuracy_drop_ratio: unknown field; did you mean 'max_accuracy_drop_ratio'?
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from controller.config.model_fields import keys_at
from controller.errors import ConfigurationError

LARGEST_FILE_BYTES = 1024 * 1024
MOST_VALUES = 100_000
"""Values after aliases are expanded: ten lines of nested aliases can stand for billions."""
DEEPEST_LEVEL = 50
MOST_FAULTS_SHOWN = 10

Path_ = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass
class Parsed:
    """A document's values, and the line [from 1] on which each path begins."""

    source: str
    value: Any = None
    lines: dict[Path_, int] = field(default_factory=dict)

    def line_of(self, path: Path_) -> int:
        """Return the line of `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def load_yaml(path: Path, model: type[ModelT]) -> ModelT:
    """Return what the file at `path` holds.

    Args:
        path: A YAML file of at most 1 MiB, one document, unique keys, no tags of its own.
        model: What the document must be.
    Raises:
        ConfigurationError: Not readable, not YAML, or not a `model`; one line per fault, at most ten.
    """
    return parse_yaml(_read(path), model, str(path))


def parse_yaml(text: str, model: type[ModelT], source: str) -> ModelT:
    """Return what `text` holds; `source` names it in messages.

    Raises:
        ConfigurationError: See `load_yaml`.
    """
    parsed = read_values(text, source)
    if parsed.value is None:
        raise ConfigurationError(f"{source}:1: the file is empty; it needs {', '.join(keys_at(model, ()))}")
    try:
        return model.model_validate(parsed.value)
    except ValidationError as exc:
        faults = exc.errors(include_url=False)
        shown = [_fault(parsed, model, fault) for fault in faults[:MOST_FAULTS_SHOWN]]
        more = [f"and {len(faults) - len(shown)} more faults"] if len(faults) > len(shown) else []
        raise ConfigurationError("\n".join(shown + more)) from exc


def read_values(text: str, source: str) -> Parsed:
    """Return the document's plain values with their lines.

    Raises:
        ConfigurationError: Not YAML, more than one document, a key twice, too deep, or too many values.
    """
    parsed = Parsed(source)
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            parsed.value = _Builder(loader, parsed).build(node, (), 0)
    except yaml.YAMLError as exc:
        raise ConfigurationError(_syntax_fault(exc, source)) from exc
    finally:
        loader.dispose()
    return parsed


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"{path}: cannot be read: {exc.strerror or exc}; check the path") from exc
    if len(content) > LARGEST_FILE_BYTES:
        raise ConfigurationError(f"{path}: larger than {LARGEST_FILE_BYTES} bytes; is this the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content[: exc.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from exc


class _Builder:
    """Turns nodes into values, noting lines; refuses what PyYAML lets pass."""

    def __init__(self, loader: yaml.SafeLoader, parsed: Parsed) -> None:
        self._loader = loader
        self._parsed = parsed
        self._values = 0

    def build(self, node: yaml.Node, path: Path_, level: int) -> Any:
        line = node.start_mark.line + 1
        self._parsed.lines.setdefault(path, line)
        self._values += 1
        if self._values > MOST_VALUES or level > DEEPEST_LEVEL:
            self._refuse(line, f"more than {MOST_VALUES} values or {DEEPEST_LEVEL} levels; simplify the file")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, level)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, number), level + 1) for number, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except ValueError as exc:  # e.g. a date that does not exist
            return self._refuse(line, f"{node.value!r} cannot be read ({exc}); put it in quotes")

    def _mapping(self, node: yaml.MappingNode, path: Path_, level: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self.build(key_node, (*path, "?"), level + 1)
            if not isinstance(key, Hashable):
                self._refuse(line, "a key must be a plain word")
            if key in found:
                first = self._parsed.lines[(*path, key)]
                self._refuse(line, f"{_dotted((*path, key))}: stands twice (first on line {first}); keep one")
            self._parsed.lines[(*path, key)] = line
            found[key] = self.build(value_node, (*path, key), level + 1)
        return found

    def _refuse(self, line: int, what: str) -> Any:
        raise ConfigurationError(f"{self._parsed.source}:{line}: {what}")


def _syntax_fault(exc: yaml.YAMLError, source: str) -> str:
    mark = getattr(exc, "problem_mark", None)
    place = f"{source}:{mark.line + 1}: column {mark.column + 1}" if mark else source
    said = getattr(exc, "problem", None) or str(exc).splitlines()[0]
    context = getattr(exc, "context", None)
    return f"{place}: not valid YAML: {said}{f' ({context})' if context else ''}; check indentation, colons and quotes"


def _fault(parsed: Parsed, model: type[BaseModel], fault: ErrorDetails) -> str:
    path = tuple(fault["loc"])
    return f"{parsed.source}:{parsed.line_of(path)}: {_dotted(path) or 'document'}: {_wording(model, path, fault)}"


def _wording(model: type[BaseModel], path: Path_, fault: ErrorDetails) -> str:
    known = keys_at(model, path[:-1])
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown field; {_suggestion(str(path[-1]), known)}"
        case "missing":
            return "is missing; add it"
        case "value_error":
            return fault["msg"].removeprefix("Value error, ")
        case "string_type":
            return f"should be text, is {fault['input']!r}; put it in quotes"
        case _:
            return f"{fault['msg'][0].lower()}{fault['msg'][1:]}, is {_short(fault['input'])}"


def _suggestion(word: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _dotted(path: Path_) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
    return text
