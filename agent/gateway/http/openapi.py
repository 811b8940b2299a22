"""The description of the HTTP interface, OpenAPI 3.1: what `/openapi.json` gives and `docs/schemas` keeps.

Decides: how paths, forms and problems are described; forms and problems are those of `bodies.py` and `problems.py`.
Leaves out: answering.
"""

from functools import cache
from typing import Any

from agent.gateway.http.bodies import FORMS, ITEM_BYTES, JSON, NPY, RAW
from agent.gateway.http.problems import KINDS

VERSION = "1.1.0"
"""Of the interface: the second number rises when something is added, the first when something is taken away."""
EVERYWHERE = ("not_found", "method_not_allowed", "foreign_host", "internal_error")
Document = dict[str, Any]
NUMBERS: Document = {
    "type": "array",
    "items": {"anyOf": [{"type": "number"}, {"$ref": "#/components/schemas/Numbers"}]},
}
PARAMETERS: dict[str, tuple[str, Document]] = {
    "batch": (
        f"`{NPY}` and `{RAW}`: 1 where several queries are stacked along the first axis.",
        {"type": "string", "enum": ["0", "1"], "default": "0"},
    ),
    "dtype": (f"`{RAW}`: type of the numbers, little-endian.", {"type": "string", "enum": list(ITEM_BYTES)}),
    "shape": (
        f"`{RAW}`: shape of the array, sizes with commas: `3,32`.",
        {"type": "string", "pattern": "^[1-9][0-9]*(,[1-9][0-9]*){0,7}$"},
    ),
}


@cache
def openapi() -> Document:
    """Return the description. One object for all callers: do not change it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thresher predictions",
            "version": VERSION,
            "summary": "Ask the models that this device serves.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The agent's Unix socket, or its loopback port."}],
        "paths": _paths(),
        "components": {"schemas": _schemas()},
    }


def _paths() -> Document:
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "description": "A workload."}
    return {
        "/": {"get": _get("greeting", "What there is, as a text", {"text/plain": {"schema": {"type": "string"}}})},
        "/openapi.json": {"get": _get("openapi", "This description", _json({"type": "object"}))},
        "/v1/health": {"get": _health()},
        "/v1/workloads": {"get": _get("workloads", "What is served", _json(_ref("Workloads")))},
        "/v1/workloads/{name}": {
            "get": _get("workload", "One workload", _json(_ref("Workload"))) | {"parameters": [name]}
        },
        "/v1/workloads/{name}/predict": {"post": _predict(name)},
    }


def _get(operation: str, summary: str, content: Document) -> Document:
    answered = {"200": {"description": summary, "content": content}}
    return {"operationId": operation, "summary": summary, "responses": answered | _problems(*EVERYWHERE)}


def _health() -> Document:
    found = _get("health", "Is every workload served?", _json(_ref("Health")))
    found["responses"]["503"] = {
        "description": "A workload has no model now, or there is no workload",
        "content": _json(_ref("Health")),
    }
    return found


def _predict(name: Document) -> Document:
    given = [
        {"name": each, "in": "query", "description": meaning, "schema": schema}
        for each, (meaning, schema) in PARAMETERS.items()
    ]
    answered = {"description": "An answer for each query, in their order", "content": _json(_ref("Prediction"))}
    return {
        "operationId": "predict",
        "summary": "Ask one query, or several",
        "parameters": [name, *given],
        "requestBody": {"required": True, "content": _bodies()},
        "responses": {"200": answered} | _problems(*KINDS),
    }


def _bodies() -> Document:
    schemas = {
        JSON: _ref("Queries"),
        NPY: {"type": "string", "contentEncoding": "binary", "description": "What numpy.save writes; no objects."},
        RAW: {"type": "string", "contentEncoding": "binary", "description": "The numbers alone, in C order."},
    }
    return {form: {"schema": schemas[form]} for form in FORMS}


def _problems(*reasons: str) -> Document:
    """Return the responses for reasons, those of one status together."""
    found: Document = {}
    for reason in reasons:
        kind = KINDS[reason]
        response = found.setdefault(str(kind.status), {"description": "", "content": _problem_content()})
        response["description"] += f"{'; ' if response['description'] else ''}`{reason}`: {kind.title}"
        if kind.again:
            response["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
            }
    return dict(sorted(found.items()))


def _problem_content() -> Document:
    return {"application/problem+json": {"schema": _ref("Problem")}}


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Document, **optional: Any) -> Document:
    return {"type": "object", "required": sorted(required), "properties": {**required, **optional}}


def _schemas() -> Document:
    text, maybe_text = {"type": "string"}, {"type": ["string", "null"]}
    texts = {"type": "array", "items": text, "description": "For models that take text."}
    milliseconds = {"type": "number", "minimum": 0}
    return {
        "Numbers": NUMBERS | {"description": "An array: numbers, or lists of them, as deep as the model's input."},
        "Queries": {
            "description": "One of the two, and nothing besides.",
            "oneOf": [
                _object({"query": {"anyOf": [_ref("Numbers"), text]}}) | {"additionalProperties": False},
                _object({"queries": {"anyOf": [_ref("Numbers"), texts]}}) | {"additionalProperties": False},
            ],
        },
        "Answer": _object(
            {
                "classes": {"type": "array", "items": {"type": "integer"}, "description": "Best first."},
                "labels": {"type": "array", "items": text, "description": "Names of the classes, where there are any."},
                "values": {
                    "type": "array",
                    "items": {"type": ["number", "null"]},
                    "description": "Of each class its probability, of each box its score, of each class of a mask its "
                    "share of the pixels; without classes the values predicted. Null: not a finite number.",
                },
            },
            boxes={
                "type": "array",
                "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
                "description": "Detection: left, top, right, bottom of each box in pixels of the query, in the order "
                "of `classes`; empty where nothing was found.",
            },
            mask=_object(
                {
                    "rows": {"type": "integer", "minimum": 1},
                    "columns": {"type": "integer", "minimum": 1},
                    "pixels": {
                        "type": "string",
                        "contentEncoding": "base64",
                        "description": "The number of the class of each pixel, a byte each, row by row.",
                    },
                }
            )
            | {"description": "Segmentation: a map of classes."},
        ),
        "Prediction": _object(
            {
                "workload": text,
                "bundle": maybe_text | {"description": "Digest of the bundle that answered."},
                "answers": {"type": "array", "items": _ref("Answer")},
                "times_ms": _object(dict.fromkeys(("pre", "infer", "post", "total"), milliseconds))
                | {"description": "`total`: from arrival to answer, waiting included."},
            }
        ),
        "Workload": _object(
            {"workload": text, "ready": {"type": "boolean", "description": "Whether a model answers now."}},
            bundle=maybe_text | {"description": "Digest of the bundle that answers."},
            model=maybe_text,
            variant=maybe_text,
            pipeline={"type": ["object", "null"], "description": "What a query must look like, as the bundle says it."},
        ),
        "Workloads": _object({"workloads": {"type": "array", "items": _ref("Workload")}}),
        "Health": _object(
            {
                "ready": {"type": "boolean", "description": "Every workload, and there is one."},
                "workloads": {"type": "object", "additionalProperties": {"type": "boolean"}},
            }
        ),
        "Problem": _object(
            {
                "type": text,
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "reason": {"type": "string", "description": "A documented reason code."},
            }
        )
        | {"description": "RFC 9457."},
    }
