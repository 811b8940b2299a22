"""The body of a request -> a query for the worker. It is not decoded here: that is done behind the worker's sandbox.

Decides: which forms there are and what can be told without decoding. Leaves out: whether the query fits the model
(the worker says `bad_query`).

JSON: an object with one member, `query` or `queries`. The text of the array, or of the string where a model takes
text, goes to the worker as it is; what only looks like such an object from its two ends is refused there.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.gateway.base import Query
from agent.gateway.http.problems import Refused

JSON, NPY, RAW = "application/json", "application/x-npy", "application/octet-stream"
# Those of `agent/serve/decode.py`, which needs numpy.
ITEM_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "float64": 8,
}
MOST_AXES = 8
MAGIC = b"\x93NUMPY"
_HEAD = re.compile(rb'\s*\{\s*"(query|queries)"\s*:\s*(?=[\["])')
_TAIL = re.compile(rb'[\]"]\s*\}\s*\Z')
_TAIL_BYTES = 256
"""White space after the array or string is looked through so far."""
_WANTED = 'send {"query": […]} with one query (a string for text), or {"queries": […, …]} with several'


@dataclass(frozen=True)
class Form:
    """One way to write a query: the parameters it takes, and how body and parameters become one."""

    parameters: frozenset[str]
    make: Callable[[bytes, Mapping[str, str]], Query]


def form_of(content_type: str) -> Form:
    """Return the form that the header `Content-Type` names.

    Raises:
        Refused: None.
    """
    # A body without a type is refused too: a web page could send one to the loopback port without being asked.
    form = FORMS.get(content_type.partition(";")[0].strip().lower())
    if form is None:
        raise Refused("wrong_content_type", f"Content-Type is {content_type[:100]!r}: use {', '.join(FORMS)}")
    return form


def check_parameters(form: Form, given: Mapping[str, str]) -> None:
    """Refuse parameters that the form does not take.

    Raises:
        Refused: There is one.
    """
    if unknown := sorted(given.keys() - form.parameters):
        takes = ", ".join(sorted(form.parameters)) or "none"
        raise Refused("bad_request", f"parameter {unknown[0][:50]!r} is not known; this form takes: {takes}")


def _json(body: bytes, _: Mapping[str, str]) -> Query:
    head = _HEAD.match(body)
    rest = len(body) - _TAIL_BYTES
    tail = _TAIL.search(body, max(rest, head.end() if head else 0))
    if head is None or tail is None:
        raise Refused("bad_request", f"the body is not as it should be: {_WANTED}")
    return Query(body[head.end() : tail.start() + 1], "json", batch=head[1] == b"queries", waits=True)


def _npy(body: bytes, given: Mapping[str, str]) -> Query:
    if not body.startswith(MAGIC):
        raise Refused("bad_request", "the body is no .npy file: write it with numpy.save")
    return Query(body, "npy", batch=_flag(given), waits=True)


def _raw(body: bytes, given: Mapping[str, str]) -> Query:
    dtype = given.get("dtype", "")
    if dtype not in ITEM_BYTES:
        raise Refused("bad_request", f"dtype is {dtype[:50]!r}: use one of {', '.join(ITEM_BYTES)}")
    shape = _shape(given.get("shape", ""))
    needed = math.prod(shape) * ITEM_BYTES[dtype]
    if needed != len(body):
        raise Refused("bad_request", f"the body has {len(body)} bytes, {dtype} of shape {shape} takes {needed}")
    return Query(body, "raw", dtype, shape, batch=_flag(given), waits=True)


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if len(sizes) > MOST_AXES or not all(re.fullmatch(r"[1-9][0-9]{0,9}", size) for size in sizes):
        raise Refused("bad_request", f"shape is {text[:50]!r}: up to {MOST_AXES} sizes with commas, as in shape=3,32")
    return tuple(int(size) for size in sizes)


def _flag(given: Mapping[str, str]) -> bool:
    value = given.get("batch", "0")
    if value not in ("0", "1"):
        raise Refused("bad_request", f"batch is {value[:50]!r}: 1 (several queries, stacked along the first axis) or 0")
    return value == "1"


FORMS = {
    JSON: Form(frozenset(), _json),
    NPY: Form(frozenset({"batch"}), _npy),
    RAW: Form(frozenset({"batch", "dtype", "shape"}), _raw),
}
