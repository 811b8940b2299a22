"""What a broker must be configured to do: MQTT 5, 1 MiB payloads, loopback only where nothing guards it.

Decides: the text of the embedded broker's TOML and of a first Mosquitto configuration. Leaves out: running either.

    text = embedded_toml(EmbeddedSettings(port=1883))
"""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.errors import ConfigurationError

LARGEST_PAYLOAD_BYTES = 1024 * 1024
"""Largest payload that the wire protocol parses at all; ours stay below 96 KiB."""

_EMBEDDED = """\
# The embedded broker (rumqttd): MQTT 5 on loopback, everything in memory.
# It has no topic permissions, so it must not listen on a network. For a site use Mosquitto (mosquitto.conf).
id = 0

[router]
id = 0
max_connections = 1024
max_outgoing_packet_count = 200
max_segment_size = 8388608
max_segment_count = 16

[v5.loopback]
name = "loopback"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.loopback.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = 100
"""

MOSQUITTO_CONF = f"""\
# Mosquitto for one site: MQTT 5, persistent sessions and retained messages, one login a device.
# Make the password file with `mosquitto_passwd -c /etc/mosquitto/thresher.passwd NAME`.
per_listener_settings false
persistence true
persistence_location /var/lib/mosquitto/
autosave_interval 60

listener 1883
allow_anonymous false
password_file /etc/mosquitto/thresher.passwd

message_size_limit {LARGEST_PAYLOAD_BYTES}
max_inflight_messages 100
# A device that is off keeps its session for a day; what was dropped from a full queue is asked for again.
max_queued_messages 1000
persistent_client_expiration 1d
"""


@dataclass(frozen=True)
class EmbeddedSettings:
    """Where the embedded broker listens and who may log in (nobody needs to when `logins` is empty)."""

    port: int
    host: str = "127.0.0.1"
    logins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _is_loopback(self.host):
            raise ConfigurationError(
                f"the embedded broker has no topic permissions and only listens on loopback, not on {self.host!r}; "
                "for a network use Mosquitto: `controller broker config mosquitto`"
            )
        if not 0 < self.port < 65536:
            raise ConfigurationError(f"broker port must lie between 1 and 65535, got {self.port}")


def embedded_toml(settings: EmbeddedSettings) -> str:
    """Return the rumqttd configuration for `settings`."""
    text = _EMBEDDED.format(host=settings.host, port=settings.port, payload=LARGEST_PAYLOAD_BYTES)
    if settings.logins:
        rows = [f"{json.dumps(name)} = {json.dumps(word)}" for name, word in sorted(settings.logins.items())]
        text += "\n[v5.loopback.connections.auth]\n" + "\n".join(rows) + "\n"
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
