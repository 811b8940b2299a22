"""What all messages share: frozen, unknown fields kept, sizes bounded before anything is parsed.

Example: `decode(Reported, payload)` gives a message or raises; `encode(message)` gives canonical bytes.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from wire.canonical import canonical_json
from wire.errors import MalformedMessage, OversizedMessage

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""A fleet, device, workload, class or trial name: safe in a topic, in a path and on a command line."""

ShortText = Annotated[str, StringConstraints(max_length=2000)]
"""Text for people, bounded because it comes from the network."""

LARGEST_PART_BYTES = 96 * 1024
"""Largest payload we publish: hosted brokers stop at 128 KiB, headers and properties included."""

LARGEST_MESSAGE_BYTES = 1024 * 1024
"""Largest payload that is parsed at all."""


class Message(BaseModel):
    """Base of everything that crosses the wire. A field that this release does not know is kept, not dropped."""

    model_config = ConfigDict(extra="allow", frozen=True, ser_json_inf_nan="null", protected_namespaces=())


MessageT = TypeVar("MessageT", bound=Message)


def encode(message: Message) -> bytes:
    """Return the canonical bytes of `message`; absent optional fields are left out."""
    return canonical_json(message.model_dump(mode="json", exclude_none=True))


def decode(kind: type[MessageT], payload: bytes, largest_bytes: int = LARGEST_MESSAGE_BYTES) -> MessageT:
    """Return the message that `payload` holds.

    Args:
        kind: Expected class.
        payload: Bytes as received.
        largest_bytes: More than this is refused unread [bytes].
    Raises:
        OversizedMessage: Larger than `largest_bytes`.
        MalformedMessage: Not JSON, or not of this kind; the text names the first faulty field.
    """
    if len(payload) > largest_bytes:
        raise OversizedMessage(f"{kind.__name__} of {len(payload)} bytes refused: at most {largest_bytes} are read")
    try:
        return kind.model_validate_json(payload)
    except (ValidationError, RecursionError) as exc:
        raise MalformedMessage(f"not a {kind.__name__}: {_first_fault(exc)}") from exc


def _first_fault(exc: Exception) -> str:
    if not isinstance(exc, ValidationError):
        return str(exc)
    fault = exc.errors(include_url=False)[0]
    return f"{'.'.join(str(step) for step in fault['loc']) or 'document'}: {fault['msg']}{given_number(fault)}"


def given_number(fault: Mapping[str, Any]) -> str:
    """Return what a fault of pydantic's says was given, as the end of a sentence, where that is a number.

    Text may be long, or a secret: it is not repeated.
    """
    value = fault.get("input")
    told = fault["type"] == "value_error"  # by our own rules, which say it themselves
    return f", given {value}" if isinstance(value, int | float) and not told and len(str(value)) <= 40 else ""
