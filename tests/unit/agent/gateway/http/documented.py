"""Whether an answer is one that the interface's description announces."""

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from agent.gateway.http.openapi import openapi
from tests.unit.agent.gateway.http.http_kit import Got


def undocumented(method: str, path: str, got: Got) -> Iterator[str]:
    """Yield what of an answer the description does not say."""
    operation = _operation("get" if method == "HEAD" else method.lower(), path)
    if operation is None:
        if got.status not in (404, 405):
            yield f"{method} {path} is not described, and gives {got.status}"
        return
    response = operation["responses"].get(str(got.status))
    if response is None:
        yield f"{method} {path} gives {got.status}: described are {', '.join(operation['responses'])}"
    elif (form := got.headers["content-type"].partition(";")[0]) not in response["content"]:
        yield f"{method} {path} gives {got.status} as {form}: described are {', '.join(response['content'])}"
    elif form != "text/plain" and method != "HEAD":
        found = faults(response["content"][form]["schema"], got.document)
        yield from (f"{method} {path} gives {got.status}: {fault}" for fault in found)
    if response is not None and ("retry-after" in got.headers) > ("Retry-After" in response.get("headers", {})):
        yield f"{method} {path} gives {got.status} with a Retry-After that is not described"


def faults(schema: dict[str, Any], document: Any) -> list[str]:
    """Return what of a document a schema of the description refuses."""
    validator = Draft202012Validator({**schema, "components": openapi()["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for template, operations in openapi()["paths"].items():
        if re.fullmatch(template.replace("{name}", "[^/]+"), path.partition("?")[0]):
            found: dict[str, Any] | None = operations.get(method)
            return found
    return None
