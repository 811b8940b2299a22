"""Predictions posted to a URL as JSON: `{"predictions": [...]}`.

Decides: what a request holds and what an answer means. Leaves out: connections (`post.py`).
A list may come twice, with the same `Idempotency-Key` or as part of another list: each prediction's `id` tells.
"""

import hashlib
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path

from agent.gateway.base import Clock, Prediction
from agent.gateway.sinks.failures import WebhookBusy, WebhookDenied, WebhookRefused
from agent.gateway.sinks.post import Address, Answer, post
from agent.gateway.sinks.text import document_of
from agent.serve.settings import WebhookSink

LONGEST_RETRY_AFTER_S = 3600.0
"""A webhook cannot silence a device for longer."""
_AGAIN = frozenset({408, 425, 429})
_CREDENTIALS = frozenset({401, 403, 407})


class Webhook:
    """Posts lists of predictions, one request and one connection each."""

    def __init__(self, name: str, settings: WebhookSink, clock: Clock) -> None:
        """Post as `settings` say.

        Raises:
            ConfigurationError: The URL names no host, or carries credentials.
        """
        self.name = name
        self.most_each = settings.most_each
        self._settings = settings
        self._clock = clock
        self._address = Address.of(settings.url, settings.ca_file)

    async def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Post all of them in one request."""
        body = b'{"predictions":[' + b",".join(document_of(each.document) for each in predictions) + b"]}"
        headers = {"Content-Type": "application/json", "Idempotency-Key": _key(predictions)}
        if self._settings.authorization_file is not None:
            headers["Authorization"] = _authorization(self._settings.authorization_file)
        answer = await post(self._address, headers, body, self._settings.timeout_s)
        self._judge(answer)

    async def close(self) -> None:
        """Nothing is held: each request has a connection of its own."""

    def _judge(self, answer: Answer) -> None:
        status, where = answer.status, f"{self._address.shown} answered {answer.status}"
        if 200 <= status < 300:
            return
        if status in _AGAIN or status >= 500:
            raise WebhookBusy(where, self._retry_after_s(answer.headers.get("retry-after", "")))
        if status in _CREDENTIALS or status < 400:
            raise WebhookDenied(f"{where}: correct the URL or the authorization; redirects are not followed")
        raise WebhookRefused(where)

    def _retry_after_s(self, text: str) -> float:
        """Return how long to wait: seconds, or a date. Source: RFC 9110, 10.2.3."""
        try:
            seconds = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - self._clock.now_s()
        except (ValueError, OverflowError):
            return 0.0
        return min(LONGEST_RETRY_AFTER_S, max(0.0, seconds))


def _key(predictions: Sequence[Prediction]) -> str:
    ids = "\n".join(str(each.document.get("id", "")) for each in predictions)
    return hashlib.sha256(ids.encode("utf-8", errors="replace")).hexdigest()


def _authorization(path: Path) -> str:
    """Return the header's text; read at each try, so that a new secret needs no restart."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise WebhookDenied(f"authorization_file {path} cannot be read: {exc}") from exc
    if not text or not text.isprintable():
        raise WebhookDenied(f"authorization_file {path} must hold one line of text")
    return text
