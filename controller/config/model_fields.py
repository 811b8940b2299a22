"""Which keys a pydantic model takes at a path: for suggestions, without asking the user to read the schema.

>>> keys_at(Fleet, ("workloads", "main", "goals"))
('confidence', 'decide_on', ...)
"""

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def keys_at(model: type[BaseModel], path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the fields of the models that may stand at `path` below `model`, sorted; none where it is no mapping."""
    types: list[Any] = [model]
    for step in path:
        types = [found for kind in types for found in _below(kind, step)]
    return tuple(sorted({name for kind in types if _is_model(kind) for name in kind.model_fields}))


def _below(kind: Any, step: str | int) -> Iterator[Any]:
    if _is_model(kind):
        if step in kind.model_fields:
            yield from _flat(kind.model_fields[step].annotation)
        return
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (dict, Mapping) and len(arguments) == 2:
        yield from _flat(arguments[1])
    elif origin in (list, tuple, Sequence) and arguments:
        yield from _flat(arguments[0])


def _flat(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for option in get_args(annotation):
            yield from _flat(option)
    elif origin is Annotated:
        yield from _flat(get_args(annotation)[0])
    else:
        yield annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
