"""In which order waiting envelopes are sent, and how the hub's newest one tells all that the hub has. Pure.

Each Stream is a lane: its envelopes keep their order. Of several lanes the one with the highest priority goes first,
and among equals the oldest envelope. So numbers are not sent in order, and the number of the newest one alone does not
say what the hub has: every envelope that overtook others carries the positions of all lanes (docs/adr/0033).
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from atoll.edge.gateway.memory import StreamKey
from atoll.federation.errors import Internal

# Numbers that are looked up at once per lane: a few kilobytes, and one query for so many envelopes.
_LOOKED_UP = 256


@dataclass(frozen=True)
class Positions:
    """What has been sent: every envelope up to `base`, and of the Streams in `ahead` up to the number there."""

    base: int = 0
    ahead: Mapping[StreamKey, int] = field(default_factory=dict)

    def of(self, stream: StreamKey) -> int:
        """Give the number up to which a Stream's envelopes have been sent."""
        return max(self.base, self.ahead.get(stream, 0))

    @property
    def newest(self) -> int:
        """The highest number that has been sent."""
        return max((self.base, *self.ahead.values()))

    def text(self) -> str:
        """Write it for a message's header; empty where the number of the message says it all."""
        if not self.ahead:
            return ""
        return f"{self.base};" + ",".join(f"{stream}={number}" for stream, number in sorted(self.ahead.items()))

    @classmethod
    def parse(cls, number: int, text: str) -> "Positions":
        """Read what the newest message says: its number, and the header `text` gave.

        Raises:
            Internal: the header is not ours.
        """
        if not text:
            return cls(number)
        try:
            base, _, lanes = text.partition(";")
            pairs = [item.split("=") for item in lanes.split(",")]
            return cls(int(base), {_key(stream): int(at) for stream, at in pairs})
        except ValueError as error:
            raise Internal(f"the hub's newest envelope has unreadable positions: {text[:80]!r}") from error


def _key(text: str) -> StreamKey:
    namespace, name = text.split("/")
    return StreamKey(namespace, name)


class Next(NamedTuple):
    """The envelope to send, and what has been sent with it."""

    stream: StreamKey
    number: int
    sent: Positions


@dataclass
class _Lane:
    sent: int = 0
    newest: int = 0
    waiting: deque[int] = field(default_factory=deque)


class SendOrder:
    """Walks through what waits. `look_up(stream, after, limit)` gives numbers of a Stream's stored envelopes."""

    def __init__(self, look_up: Callable[[StreamKey, int, int], Iterable[int]]) -> None:
        self._look_up = look_up
        self._lanes: dict[StreamKey, _Lane] = {}

    def begin(self, sent: Positions, newest: Mapping[StreamKey, int]) -> None:
        """Go on from what the hub has. `newest` is each Stream's newest stored number."""
        self._lanes = {stream: _Lane(sent.of(stream), number) for stream, number in newest.items()}

    def stored(self, stream: StreamKey, number: int) -> None:
        """Take note of a new envelope."""
        lane = self._lanes.setdefault(stream, _Lane())
        if lane.sent < number:
            lane.newest = number

    def changed(self, stream: StreamKey) -> None:
        """Take note that what waits of a Stream has other numbers now."""
        if stream in self._lanes:
            self._lanes[stream].waiting.clear()

    def sent(self, stream: StreamKey) -> int:
        """Give the number up to which a Stream was sent, acknowledged or not."""
        lane = self._lanes.get(stream)
        return lane.sent if lane is not None else 0

    def next(self, priorities: Mapping[StreamKey, int]) -> Next | None:
        """Choose the next envelope and count it as sent; None if all were."""
        heads = {stream: head for stream in self._lanes if (head := self._head(stream)) is not None}
        if not heads:
            return None
        stream = max(heads, key=lambda key: (priorities.get(key, 0), -heads[key]))
        number, lowest = heads[stream], min(heads.values())
        lane = self._lanes[stream]
        lane.waiting.popleft()
        lane.sent = number
        base = number if number == lowest else lowest - 1
        return Next(stream, number, Positions(base, self._ahead(base)))

    def _head(self, stream: StreamKey) -> int | None:
        lane = self._lanes[stream]
        if not lane.waiting and lane.newest > lane.sent:
            lane.waiting.extend(self._look_up(stream, lane.sent, _LOOKED_UP))
            if not lane.waiting:
                lane.newest = lane.sent
        return lane.waiting[0] if lane.waiting else None

    def _ahead(self, base: int) -> dict[StreamKey, int]:
        return {stream: lane.sent for stream, lane in self._lanes.items() if lane.sent > base}
