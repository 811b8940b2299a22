"""A validator for as much of JSON Schema (draft 2020-12) as our published schemas use; an unknown keyword is an error.

It reads the schemas as an editor does, so that they are tested themselves and not the models that they are made from.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
SAYS_NOTHING = {"$defs", "$schema", "title", "description", "default", "discriminator", "format"}
CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "const": lambda value, want: bool(value == want and type(value) is type(want)),
    "enum": lambda value, want: value in want,
    "minimum": lambda value, want: value >= want,
    "maximum": lambda value, want: value <= want,
    "exclusiveMinimum": lambda value, want: value > want,
    "exclusiveMaximum": lambda value, want: value < want,
    "minLength": lambda value, want: len(value) >= want,
    "maxLength": lambda value, want: len(value) <= want,
    "minItems": lambda value, want: len(value) >= want,
    "maxItems": lambda value, want: len(value) <= want,
    "minProperties": lambda value, want: len(value) >= want,
    "maxProperties": lambda value, want: len(value) <= want,
    "pattern": lambda value, want: re.search(want, value) is not None,
}


def faults(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None, at: str = "") -> list[str]:
    """Return what of `value` the schema refuses, each with its path; empty for a valid document.

    Raises:
        LookupError: A keyword that this validator does not know.
    """
    root = schema if root is None else root
    if "$ref" in schema:
        return faults(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root, at)
    if "type" in schema and not _is(value, schema["type"]):
        return [f"{at}: {value!r} is not of type {schema['type']}"]
    return [fault for keyword, want in schema.items() for fault in _checked(keyword, want, schema, value, root, at)]


def _checked(
    keyword: str, want: Any, schema: dict[str, Any], value: Any, root: dict[str, Any], at: str
) -> Iterator[str]:
    if keyword in CHECKS:
        if not CHECKS[keyword](value, want):
            yield f"{at}: {value!r} does not keep {keyword} {want!r}"
    elif keyword in ("anyOf", "oneOf"):
        fitting = sum(not faults(option, value, root, at) for option in want)
        if fitting == 0 or (keyword == "oneOf" and fitting > 1):
            yield f"{at}: {value!r} fits {fitting} of {len(want)} alternatives"
    elif keyword == "required":
        yield from (f"{at}: {name} is missing" for name in want if name not in value)
    elif keyword == "items":
        for place, each in enumerate(value):
            yield from faults(want, each, root, f"{at}[{place}]")
    elif keyword == "propertyNames":
        for name in value:
            yield from faults(want, name, root, f"{at}.{name} (name)")
    elif keyword == "properties":
        for name in value.keys() & want.keys():
            yield from faults(want[name], value[name], root, f"{at}.{name}")
    elif keyword in ("additionalProperties", "patternProperties"):
        yield from _free(keyword, want, schema, value, root, at)
    elif keyword not in SAYS_NOTHING | {"type"}:
        raise LookupError(f"{at}: keyword {keyword} is not known to this validator")


def _free(keyword: str, want: Any, schema: dict[str, Any], value: Any, root: dict[str, Any], at: str) -> Iterator[str]:
    patterns = schema.get("patternProperties", {})
    for name, each in value.items():
        matching = [part for pattern, part in patterns.items() if re.search(pattern, name)]
        if keyword == "patternProperties":
            for part in matching:
                yield from faults(part, each, root, f"{at}.{name}")
        elif name not in schema.get("properties", {}) and not matching:
            yield from [f"{at}: unknown key {name}"] if want is False else faults(want, each, root, f"{at}.{name}")


def _is(value: Any, kind: str) -> bool:
    if kind != "boolean" and isinstance(value, bool):
        return False
    return isinstance(value, TYPES[kind])
