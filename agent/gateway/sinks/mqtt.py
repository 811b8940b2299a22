"""Predictions to an MQTT topic, one message each.

Decides: the topic of a prediction, and that one is under way at a time. Leaves out: the session (`gateway/mqtt.py`).
What a template's names stand for is cleaned before it becomes part of a topic: `+`, `#` and control characters become
`_`, and so does an empty one.
"""

import re
from collections.abc import Sequence

from agent.gateway.base import Prediction, Surroundings, Undelivered
from agent.gateway.sinks.failures import BrokerAway, TopicRefused
from agent.gateway.sinks.text import document_of
from agent.serve.settings import RESERVED_TOPICS, MqttSink

LONGEST_TOPIC_BYTES = 65_535
"""Source: MQTT 5.0, 1.5.4."""
_NOT_IN_A_TOPIC = re.compile(r"[+#\x00-\x1f\x7f-\x9f]")
_EMPTY = "_"


class MqttPublisher:
    """Publishes through the gateway's one session."""

    most_each = 1
    """A second one under way could be acknowledged where the first is not, and would then have overtaken it."""

    def __init__(self, name: str, settings: MqttSink, surroundings: Surroundings) -> None:
        """Publish as `settings` say."""
        self.name = name
        self._settings = settings
        self._link = surroundings.link
        self._known = {"device": surroundings.device, "workload": surroundings.workload}

    async def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Publish one behind the other, each once the one before it was acknowledged."""
        for each in predictions:
            topic, payload = self.topic_of(each), document_of(each.document)
            try:
                await self._link.publish(topic, payload, self._settings.qos, self._settings.retain)
            except Undelivered as exc:
                raise BrokerAway(str(exc)) from exc

    async def close(self) -> None:
        """Nothing is held: the session is the gateway's."""

    def topic_of(self, prediction: Prediction) -> str:
        """Return the topic that a prediction is published to.

        Raises:
            TopicRefused: None can be made of it.
        """
        origin = prediction.origin
        content = {**self._known, "topic": origin.get("topic"), "key": origin.get("key")}
        topic = re.sub(r"{(\w+)}", lambda found: _clean(content.get(found[1])), self._settings.topic)
        if len(topic.encode("utf-8", errors="replace")) > LONGEST_TOPIC_BYTES:
            raise TopicRefused(f"topic {topic[:60]!r}… has more than {LONGEST_TOPIC_BYTES} bytes")
        if f"{topic}/".startswith((RESERVED_TOPICS, "$")):
            raise TopicRefused(f"topic {topic[:200]!r} is the broker's or the fleet's own")
        return topic


def _clean(content: object) -> str:
    text = "" if content is None else str(content).encode("utf-8", errors="replace").decode()
    return _NOT_IN_A_TOPIC.sub(_EMPTY, text) or _EMPTY
