"""A device's line to the broker: the agent's own `Link`, run by the simulator's loop instead of a thread.

Decides: when a socket is read and written, and when a lost broker is tried again. Leaves out: session, will,
subscriptions and decoding, which are the agent's (`agent/mqtt.py`): what the broker sees is what an agent does.
"""

import contextlib
import logging
import random
import selectors
import socket
from collections.abc import Callable
from typing import Any

from agent.loop import Timer
from agent.mqtt import LONGEST_RECONNECT_S, Inbound, Link
from agent.serve.settings import BrokerConfig
from simulator.network.loop import EpollLoop
from simulator.site.counts import Counts
from wire.base import Message
from wire.presence import Presence

log = logging.getLogger(__name__)

LOOKS_PER_KEEPALIVE = 4
CONNECT_TIMEOUT_S = 5.0
MOST_DOUBLINGS = 5
MOST_PACKETS = 32
"""Read from one socket before another one has its turn."""
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class PolledLink(Link):
    """One device's session. All methods belong to the loop's thread."""

    def __init__(
        self,
        broker: BrokerConfig,
        password: str | None,
        will: Presence,
        deliver: Callable[[Inbound], None],
        *,
        loop: EpollLoop,
        counts: Counts,
    ) -> None:
        super().__init__(broker, password, will, deliver)
        self._loop = loop
        self._counts = counts
        self._watched: socket.socket | None = None
        self._care: Timer | None = None
        self._tries = 0
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.on_socket_open = self._opened
        self._client.on_socket_close = self._closed
        self._client.on_socket_register_write = self._wants_to_write
        self._client.on_socket_unregister_write = self._has_written

    @property
    def online(self) -> bool:
        """Whether everything is subscribed."""
        return self._online.is_set()

    def start(self) -> None:
        """Connect now; where that fails, again and again, ever later."""
        self.prepare()
        self._connect()

    def stop(self, last_word: Presence) -> None:
        """Say that the device goes offline and end the connection; what was said leaves while the loop still runs."""
        self._end_care()
        self._stopping.set()
        if self._online.is_set():
            self._publish(self._topics.presence(self._device), last_word, retain=True)
        self._client.disconnect()

    def drop(self, again_s: float | None) -> None:
        """Lose the connection as a device that lost its power does; come back in `again_s`, or never (null)."""
        self._end_care()
        if again_s is None:
            self._stopping.set()
        if self._watched is not None:
            # The other end sees a connection that ended without DISCONNECT: the will is published.
            with contextlib.suppress(OSError):
                self._watched.shutdown(socket.SHUT_RDWR)
            self._client.loop_read()
        if again_s is not None:
            self._try_again(again_s)

    def next_will(self, will: Presence) -> None:
        """Have the broker say `will` for the next connection: that of another boot."""
        self._set_will(self._client, will)

    # --- connecting -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._stopping.is_set() or self._watched is not None:
            return
        try:
            self._client.reconnect()
        except OSError as exc:
            self._counts.failed_connections += 1
            log.debug("%s cannot connect: %s", self._device, exc)
            self._try_again()

    def _try_again(self, wait_s: float | None = None) -> None:
        """Connect in `wait_s`; null: a little later than the last time, and not all devices at once."""
        if wait_s is None:
            self._tries = min(self._tries + 1, MOST_DOUBLINGS)
            wait_s = min(LONGEST_RECONNECT_S, 2.0**self._tries) * random.uniform(0.5, 1.0)
        self._end_care()
        self._care = self._loop.after(wait_s, self._connect)

    def _look_after(self) -> None:
        """Keep the session alive. paho notices here, too, that the broker fell silent."""
        self._client.loop_misc()
        if self._watched is not None:
            self._care = self._loop.after(self._broker.keepalive_s / LOOKS_PER_KEEPALIVE, self._look_after)

    def _end_care(self) -> None:
        if self._care is not None:
            self._care.cancel()
            self._care = None

    # --- sockets --------------------------------------------------------------------------------------------------

    def _opened(self, _client: Any, _userdata: Any, sock: Any) -> None:
        self._watched = sock
        self._loop.watch(sock, READ, self._ready)
        self._end_care()
        # Spread: devices that came together need not be looked after together.
        first_s = self._broker.keepalive_s / LOOKS_PER_KEEPALIVE * random.random()
        self._care = self._loop.after(first_s, self._look_after)

    def _closed(self, _client: Any, _userdata: Any, sock: Any) -> None:
        self._loop.unwatch(sock)
        self._watched = None

    def _wants_to_write(self, _client: Any, _userdata: Any, sock: Any) -> None:
        self._loop.watch(sock, READ | WRITE, self._ready)

    def _has_written(self, _client: Any, _userdata: Any, sock: Any) -> None:
        if self._watched is not None:
            self._loop.watch(sock, READ, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._client.loop_write()
        if events & READ:
            self._read()

    def _read(self) -> None:
        """Read what has come. TLS may hold decrypted bytes that the selector cannot see."""
        for _ in range(MOST_PACKETS):
            self._client.loop_read()
            sock: Any = self._watched
            if sock is None or not (hasattr(sock, "pending") and sock.pending()):
                return

    # --- what the agent's link does, counted ------------------------------------------------------------------------

    def _publish(self, topic: str, message: Message, retain: bool) -> Any:
        self._counts.sent += 1
        return super()._publish(topic, message, retain)

    def _arrived(self, client: Any, userdata: Any, message: Any) -> None:
        self._counts.received += 1
        self._counts.received_bytes += len(message.payload)
        super()._arrived(client, userdata, message)

    def _subscribed(self, *arguments: Any) -> None:
        was_online = self.online
        super()._subscribed(*arguments)
        if self.online and not was_online:
            self._counts.connected += 1
            self._tries = 0

    def _disconnected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self.online:
            self._counts.connected -= 1
        super()._disconnected(client, userdata, flags, reason, properties)
        if not self._stopping.is_set():
            self._try_again()

    def _wait_a_little(self) -> None:
        """Nobody waits on the loop's thread: `_try_again` spreads the devices."""
