"""Errors of the wire: what was received or asked for does not follow the protocol."""


class WireError(Exception):
    """Base of this package's errors. `reason` crosses the wire and is documented in docs/reference/reasons.md."""

    reason = "wire_error"


class MalformedMessage(WireError):
    """Bytes from the network do not form the message that their topic promises."""

    reason = "malformed_message"


class OversizedMessage(WireError):
    """A message is larger than its kind may be; it was not parsed."""

    reason = "oversized_message"


class BadSignature(WireError):
    """An envelope's signature does not verify with any key that is trusted."""

    reason = "bad_signature"


class IllegalTransition(WireError):
    """A device state was followed by one that the protocol does not allow."""

    reason = "illegal_transition"


class BadTopic(WireError):
    """A topic is not one of the protocol's, or a name cannot stand in a topic."""

    reason = "bad_topic"
