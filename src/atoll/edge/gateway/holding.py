"""Messages that are kept back, unacknowledged, while their Stream takes nothing in. Pure.

A Stream that refuses must not stop the others. MQTT lets a client acknowledge some packets and not others, within its
receive maximum: when all of that is kept back, the broker sends nothing more, of any Stream (docs/gateways.md). Order
within a Stream stays: a message waits behind those of its Streams that wait, and a Stream that shares one with a Stream
that refuses waits with it.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from atoll.edge.gateway.drafts import Message
from atoll.edge.gateway.memory import StreamKey

# In place of a connection: the broker has forgotten that it sent this, and ours is the only copy.
_NEVER_AGAIN = -1


class Holding:
    """What is kept back. `streams_of(topic)` gives the Streams that a message goes to."""

    def __init__(self, streams_of: Callable[[str], Iterable[StreamKey]]) -> None:
        self._streams_of = streams_of
        self._held: deque[Message] = deque()
        self._connection = 0

    def __len__(self) -> int:
        """How many messages are kept back."""
        return len(self._held)

    def take(
        self, messages: Sequence[Message], refusing: Collection[StreamKey], *, is_new_session: bool = False
    ) -> list[Message]:
        """Give those messages, of the ones kept back and the new ones, that are taken in now; keep back the others.

        What was kept back of an earlier connection comes again, unless the broker has lost the session.
        """
        if messages and messages[0].connection != self._connection:
            self._reconnected(messages[0].connection, is_new_session=is_new_session)
        if not refusing and not self._held:
            return list(messages)
        blocked, taken, held = set(refusing), list[Message](), deque[Message]()
        for message in (*self._held, *messages):
            streams = set(self._streams_of(message.topic))
            if streams & blocked:
                blocked |= streams
                held.append(message)
            else:
                taken.append(message)
        self._held = held
        return taken

    def _reconnected(self, connection: int, *, is_new_session: bool) -> None:
        self._connection = connection
        if is_new_session:
            self._held = deque(message._replace(connection=_NEVER_AGAIN) for message in self._held)
        else:
            self._held = deque(message for message in self._held if message.connection == _NEVER_AGAIN)
