"""How long each cluster has been silent, by this hub's own monotonic clock.

A heartbeat counts from when this process came to it, never from a date in it: a date may lie, and late is safe. What
was there before this process led was not heard by it, so that every silence begins anew with a new leader.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from atoll.hub.members import Observed, Path


@dataclass(frozen=True)
class _Heard:
    at: float
    revision: int = 0


@dataclass
class Hearing:
    """What one leader has heard of its clusters."""

    observed: Observed
    clock: Callable[[], float] = time.monotonic
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _silent: set[str] = field(default_factory=set)

    def note(self, cluster: str) -> bool:
        """Note that a heartbeat is there; tell whether somebody was told of a silence that it ends."""
        held = self.observed.held(_path(cluster))
        self._heard[cluster] = _Heard(self.clock(), held.revision if held is not None else 0)
        was_silent = cluster in self._silent
        self._silent.discard(cluster)
        return was_silent

    async def silence_seconds(self, cluster: str, *, at_least: float) -> float:
        """Give for how long nothing was heard of a cluster.

        A silence of `at_least` is told only after the store itself was asked: this process may be behind, and what it
        has not read yet has renewed the cluster's leases all the same.

        Raises:
            Unavailable: the store cannot be asked; retryable.
        """
        heard = self._heard.setdefault(cluster, _Heard(self.clock()))
        silence = self.clock() - heard.at
        if silence < at_least:
            return silence
        newest = await self.observed.newest_revision(_path(cluster))
        if newest > heard.revision:
            self._heard[cluster] = _Heard(self.clock(), newest)
            return 0.0
        self._silent.add(cluster)
        return silence


def _path(cluster: str) -> Path:
    return Path("cluster", cluster, "heartbeat")
