"""Copies of datasets under way: links are shared, and a copy that two tasks wait for moves once.

Owns the arithmetic of shared uplinks. An uplink carries as much in as out; all copies out of a cluster share the one,
all copies into it the other, in equal parts, and a copy goes at the lower of its two shares.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Copy = tuple[str, str]
"""A dataset, and the cluster that it goes to."""
# Less than this is nothing: what remains of a sum of floats.
_NOTHING_BYTES = 1.0


@dataclass
class _Moving:
    source: str
    left: float
    rate: float = 0.0


@dataclass
class Transfers:
    """The copies under way at `now`; uplinks are bytes/s by cluster."""

    uplinks: Mapping[str, float]
    now: float = 0.0
    moved_bytes: int = 0
    _moving: dict[Copy, _Moving] = field(default_factory=dict)

    def __contains__(self, copy: Copy) -> bool:
        """Tell whether a dataset is on its way to a cluster."""
        return copy in self._moving

    def start(self, copy: Copy, source: str, size: int) -> None:
        """Begin to copy."""
        self._moving[copy] = _Moving(source, float(size))
        self.moved_bytes += size
        self._share()

    def under_way(self) -> Iterator[tuple[Copy, str, float]]:
        """Give the copies with their sources and the bytes that are left."""
        yield from ((copy, each.source, each.left) for copy, each in self._moving.items())

    def next_end(self) -> float:
        """Tell when the first copy will have ended if none begins; infinite if there is none."""
        return self.now + min((each.left / each.rate for each in self._moving.values()), default=float("inf"))

    def advance(self, now: float) -> list[Copy]:
        """Let time pass, no further than to `next_end`; give the copies that have ended."""
        for each in self._moving.values():
            each.left -= each.rate * (now - self.now)
        self.now = now
        ended = [copy for copy, each in self._moving.items() if each.left <= _NOTHING_BYTES]
        for copy in ended:
            del self._moving[copy]
        if ended:
            self._share()
        return ended

    def _share(self) -> None:
        out = Counter(each.source for each in self._moving.values())
        into = Counter(cluster for _, cluster in self._moving)
        for (_, cluster), each in self._moving.items():
            each.rate = min(self.uplinks[each.source] / out[each.source], self.uplinks[cluster] / into[cluster])
