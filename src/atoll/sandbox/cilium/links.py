"""Which simulated clusters reach which, as a fault plan in memory.

Owns the links and their failure counters; must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Link:
    """One cluster's view of another."""

    is_up: bool = True
    failures: int = 0
    last_failure_at: datetime | None = None


class UnknownLink(Exception):
    """A link names a cluster that is not of this sandbox, or one cluster twice."""


class Links:
    """The mesh of one sandbox. A link is seen by both its ends; each end can also lose it alone."""

    def __init__(self, names: tuple[str, ...], clock: Callable[[], datetime]) -> None:
        """Connect every cluster with every other."""
        self.names: tuple[str, ...] = ()
        self._clock = clock
        self._links: dict[tuple[str, str], Link] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Connect one more cluster with every other."""
        self._links.update({pair: Link() for other in self.names for pair in ((name, other), (other, name))})
        self.names = (*self.names, name)

    def remove(self, name: str) -> None:
        """Forget a cluster and its links."""
        self.names = tuple(other for other in self.names if other != name)
        self._links = {pair: link for pair, link in self._links.items() if name not in pair}

    def view(self, near: str, far: str) -> Link:
        """Return how `near` sees `far`. Raises UnknownLink."""
        link = self._links.get((near, far))
        if link is None:
            raise UnknownLink(f"there is no link {near} → {far}: the mesh has {', '.join(self.names)}")
        return link

    def set_up(self, near: str, far: str, *, is_up: bool, both_ways: bool = True) -> None:
        """Cut or mend a link. Raises UnknownLink."""
        for pair in ((near, far), (far, near)) if both_ways else ((near, far),):
            old = self.view(*pair)
            if old.is_up and not is_up:
                self._links[pair] = Link(is_up=False, failures=old.failures + 1, last_failure_at=self._clock())
            else:
                self._links[pair] = Link(is_up, old.failures, old.last_failure_at)
