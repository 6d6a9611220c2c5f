"""How the file that is being sent gets on, and how fast files went of late. In memory."""

import time
from collections.abc import Callable

from atoll.edge.gateway.file_source.records import Entry
from atoll.edge.gateway.memory import StreamKey

# The rate is of about this long a time: shorter, and it jumps with every chunk.
_WINDOW_SECONDS = 10.0


class Progress:
    """Of one gateway, which sends one file at a time."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._current: tuple[Entry, int] | None = None
        self._sent: dict[StreamKey, list[tuple[float, int]]] = {}

    def sent(self, entry: Entry, through: int, size: int) -> None:
        """Note that a file is through up to a place, and that so many bytes of it were sent just now."""
        self._current = entry, through
        if size:
            now = self._clock()
            recent = [item for item in self._sent.get(entry.stream, []) if item[0] > now - _WINDOW_SECONDS]
            self._sent[entry.stream] = [*recent, (now, size)]

    def ended(self) -> None:
        """Note that no file is being sent."""
        self._current = None

    def sending(self, stream: StreamKey) -> str:
        """Name the file that is being sent, and how much of it; empty if none is."""
        if self._current is None or self._current[0].stream != stream:
            return ""
        entry, through = self._current
        return f"{entry.path.decode(errors='backslashreplace')} ({100 * through // max(1, entry.signature.size)} %)"

    def rate(self, stream: StreamKey) -> float:
        """Give the bytes per second of late."""
        start = self._clock() - _WINDOW_SECONDS
        return sum(size for at, size in self._sent.get(stream, []) if at > start) / _WINDOW_SECONDS
