"""Predictions as bytes: one JSON document, one line, strict JSON whatever the model answered.

Leaves out: what is in a prediction (`base.py`).
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from agent.gateway.base import Prediction


def finite(value: Any) -> Any:
    """Return JSON values with null for numbers that JSON has not."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def document_of(document: Mapping[str, Any]) -> bytes:
    """Return compact JSON; numbers that JSON has not (NaN, infinities) become null."""
    try:
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(document), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", errors="replace")


def line_of(document: Mapping[str, Any]) -> bytes:
    """Return the document as one line, its end included: JSON text holds no line break."""
    return document_of(document) + b"\n"


def prediction_in(line: bytes) -> Prediction | None:
    """Return what a line of a store holds; None where it was damaged."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return Prediction(document) if isinstance(document, dict) else None
