"""Why a sink did not take predictions: each with its reason code, told apart by whether they are kept."""

from agent.gateway.base import Undeliverable, Undelivered


class NotNow(Undelivered):
    """A sink said when it may be asked again."""

    reason = "sink_busy"

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        """Ask again in `after_s` seconds at the earliest."""
        super().__init__(message)
        self.after_s = after_s


class BrokerAway(Undelivered):
    """The broker of predictions is away, or did not acknowledge in time."""

    reason = "sink_broker_away"


class FileRefused(Undelivered):
    """A file of predictions cannot be written: no room, no right, or a worn card."""

    reason = "sink_file_refused"


class WebhookTimedOut(Undelivered):
    """A webhook did not answer within `timeout_s`, from the connection to the end of the answer's head."""

    reason = "webhook_timeout"


class WebhookUnreachable(Undelivered):
    """No connection to a webhook, it broke, or its certificate does not hold."""

    reason = "webhook_unreachable"


class WebhookBusy(NotNow):
    """A webhook answered 408, 425, 429 or 5xx: it may be asked again, after its `Retry-After` where it has one."""

    reason = "webhook_busy"


class WebhookDenied(Undelivered):
    """A webhook wants other credentials (401, 403, 407), sends elsewhere (3xx), or its authorization cannot be read.

    The predictions are not at fault, so they are kept until the configuration is right.
    """

    reason = "webhook_denied"


class WebhookRefused(Undeliverable):
    """A webhook refused predictions for good: any other 4xx."""

    reason = "webhook_refused"


class TopicRefused(Undeliverable):
    """The topic that a prediction makes is none to publish to: too long, or the protocol's own."""

    reason = "sink_topic_refused"


class SinkFailed(Undelivered):
    """A sink ended in a way that it should not: a defect. Its predictions are kept and tried again."""

    reason = "sink_failed"
