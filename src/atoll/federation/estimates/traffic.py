"""What links carry: how fast copies went lately between any two clusters, and what is under way now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

Way = tuple[str, str]
"""Source and destination, by their names in the federation."""

# A link may have been rebuilt since: what its operator declares of it is then the better guess.
_STANDS_FOR = timedelta(days=30)


@dataclass(frozen=True)
class LinkRate:
    """Bytes/s that copies reach on one way when they are alone there, and when the newest of them was."""

    bytes_per_second: float
    measured_at: datetime
    copies: int = 1


@dataclass(frozen=True)
class Moving:
    """A copy that is under way: of which dataset (`namespace/name`) and version, and what of it is still to come."""

    dataset: str
    version: int
    source: str
    destination: str
    left_bytes: int


@dataclass(frozen=True)
class Traffic:
    """Measured rates by way, and the copies that are under way."""

    rates: Mapping[Way, LinkRate] = field(default_factory=dict)
    moving: tuple[Moving, ...] = ()

    def rate(self, way: Way, now: datetime) -> LinkRate | None:
        """Give what was measured on a way; None if nothing was, or too long ago."""
        known = self.rates.get(way)
        return known if known is not None and now - known.measured_at <= _STANDS_FOR else None

    def sharing(self, source: str, destination: str) -> int:
        """Count the copies that a new one would share a way out or a way in with."""
        leaving, coming = self._ends
        both = self._ways.get((source, destination), 0)
        return leaving.get(source, 0) + coming.get(destination, 0) - both

    def arriving(self, dataset: str, version: int) -> Mapping[str, Moving]:
        """Find the copies of a dataset's version that are under way, by destination."""
        return self._arriving.get((dataset, version), {})

    @cached_property
    def _ends(self) -> tuple[dict[str, int], dict[str, int]]:
        leaving: dict[str, int] = {}
        coming: dict[str, int] = {}
        for each in self.moving:
            leaving[each.source] = leaving.get(each.source, 0) + 1
            coming[each.destination] = coming.get(each.destination, 0) + 1
        return leaving, coming

    @cached_property
    def _ways(self) -> dict[Way, int]:
        ways: dict[Way, int] = {}
        for each in self.moving:
            ways[each.source, each.destination] = ways.get((each.source, each.destination), 0) + 1
        return ways

    @cached_property
    def _arriving(self) -> dict[tuple[str, int], dict[str, Moving]]:
        found: dict[tuple[str, int], dict[str, Moving]] = {}
        for each in self.moving:
            found.setdefault((each.dataset, each.version), {})[each.destination] = each
        return found


NO_TRAFFIC = Traffic()
"""Nothing was measured, and nothing moves."""
