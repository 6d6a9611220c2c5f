"""Remembers what Transfers tell of links: the newest finished copies of each way, and those that are under way.

A copy that shared its way out or its way in with others was slower for it: it counts as fast as it would have been
alone. All that is remembered can be read from the Transfers again.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from atoll.federation.estimates.robust import coarse, quantile
from atoll.federation.estimates.traffic import LinkRate, Moving, Traffic, Way
from atoll.federation.resources import Transfer

# A copy of less measures how a copy begins and ends, not what the link carries.
_TELLING_BYTES = 4 * 2**20
_MOST_COPIES = 16
_HALF_LIFE_SECONDS = 86400.0


@dataclass(frozen=True)
class _Copy:
    """One finished copy that tells something."""

    key: str
    way: Way
    bytes_per_second: float
    began_at: datetime
    ended_at: datetime

    def shared(self, other: "_Copy") -> float:
        """Tell which part of its time this copy shared an end with another one."""
        if other.key == self.key or (other.way[0] != self.way[0] and other.way[1] != self.way[1]):
            return 0.0
        together = min(self.ended_at, other.ended_at) - max(self.began_at, other.began_at)
        return max(0.0, together / max(self.ended_at - self.began_at, timedelta(milliseconds=1)))


class TrafficLog:
    """What is known of copies. `note` each Transfer that is seen, `forget` one that is gone."""

    def __init__(self) -> None:
        self._moving: dict[str, Moving] = {}
        self._copies: dict[Way, list[_Copy]] = defaultdict(list)
        self._rates: dict[Way, LinkRate] = {}
        self._traffic: Traffic | None = None

    def note(self, transfer: Transfer, now: datetime) -> None:
        """Take in a transfer as it is now. Its mover's clock may be ahead: nothing ended later than now."""
        moving = _moving(transfer)
        if moving is None:
            self.forget(transfer.key)
        elif self._moving.get(transfer.key) != moving:
            self._moving[transfer.key], self._traffic = moving, None
        copy = _copy(transfer, now)
        if copy is not None:
            self._add(copy)

    def forget(self, key: str) -> None:
        """Know of a transfer (`namespace/name`) that it does not move any more; what it measured stands."""
        if self._moving.pop(key, None) is not None:
            self._traffic = None

    @property
    def traffic(self) -> Traffic:
        """All that is known; the same object as long as it says the same."""
        if self._traffic is None:
            self._traffic = Traffic(dict(self._rates), tuple(self._moving[key] for key in sorted(self._moving)))
        return self._traffic

    def _add(self, copy: _Copy) -> None:
        copies = self._copies[copy.way]
        if any((each.key, each.ended_at) == (copy.key, copy.ended_at) for each in copies):
            return
        self._copies[copy.way] = sorted((*copies, copy), key=lambda each: (each.ended_at, each.key))[-_MOST_COPIES:]
        for way in [way for way in self._copies if way[0] == copy.way[0] or way[1] == copy.way[1]]:
            self._rates[way] = self._rate(self._copies[way])
        self._traffic = None

    def _rate(self, copies: list[_Copy]) -> LinkRate:
        newest = copies[-1].ended_at
        samples = [
            (each.bytes_per_second * (1 + self._sharing(each)), _weight(newest - each.ended_at)) for each in copies
        ]
        return LinkRate(coarse(quantile(samples, 0.5)), newest, len(copies))

    def _sharing(self, copy: _Copy) -> float:
        """Give how many others a copy shared its ends with, on an average of its time."""
        return sum(copy.shared(other) for other in self._beside(copy.way))

    def _beside(self, way: Way) -> Iterable[_Copy]:
        return (each for (source, to), copies in self._copies.items() if source == way[0] or to == way[1]
                for each in copies)  # fmt: skip


def _weight(age: timedelta) -> float:
    return max(1e-6, float(0.5 ** (age.total_seconds() / _HALF_LIFE_SECONDS)))


def _moving(transfer: Transfer) -> Moving | None:
    """See a transfer as a copy under way. What is left is told in sixteenths: each report would be news otherwise."""
    spec, status = transfer.spec, transfer.status
    if status.phase not in ("Pending", "Copying"):
        return None
    step = max(1, status.total_bytes // 16)
    left = -(-max(0, status.total_bytes - status.copied_bytes) // step) * step
    dataset = f"{transfer.metadata.namespace}/{spec.dataset}"
    return Moving(dataset, spec.version, spec.source, spec.destination, left)


def _copy(transfer: Transfer, now: datetime) -> _Copy | None:
    status, way = transfer.status, (transfer.spec.source, transfer.spec.destination)
    is_telling = status.phase == "Succeeded" and status.copied_bytes >= _TELLING_BYTES and status.bytes_per_second > 0
    if not is_telling or status.finished_at is None:
        return None
    ended_at = min(status.finished_at, now)
    lasted = timedelta(seconds=min(status.copied_bytes / status.bytes_per_second, 1e7))
    return _Copy(transfer.key, way, status.bytes_per_second, ended_at - lasted, ended_at)
