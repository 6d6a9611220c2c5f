"""Orders of policies, made once: what a commit comes to in a cluster, and what of it is new there.

Owns what was compiled and stamped before, by policy set and cluster: of a new commit only changed manifests are
compiled. It must not decide which commit a cluster gets.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from atoll.federation.bus.messages import PolicyOrder
from atoll.federation.resources import PolicySet
from atoll.hub.controllers.policy_plan import compile_order
from atoll.policies.bundle import Bundle
from atoll.policies.compile import Compiled, Memory, Target, compile_for, forget_others
from atoll.policies.stamp import StampMemory

K = TypeVar("K")
V = TypeVar("V")

# The commit in force, the one that is on its way, and one that a rollback asks for.
_COMMITS_KEPT = 3


@dataclass
class _Place:
    """What is known of one cluster, for one policy set."""

    target: Target
    memory: Memory = field(default_factory=dict)
    stamps: StampMemory = field(default_factory=dict)
    compiled: dict[str, tuple[Bundle, Compiled]] = field(default_factory=dict)
    orders: dict[tuple[str, str], tuple[Bundle, PolicyOrder]] = field(default_factory=dict)


class OrderBook:
    """Compiles commits for clusters."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], _Place] = {}
        # All is made in threads, orders and plans; one of a turn that has ended may still be at it in the next turn.
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Drop what depends on what stood: another hub may have led since. What was compiled stays true."""
        for place in self._places.values():
            place.orders.clear()
            place.stamps.clear()

    def forget(self, name: str) -> None:
        """Drop what is known of a policy set."""
        self._places = {key: place for key, place in self._places.items() if key[0] != name}

    def compile(self, name: str, bundle: Bundle, target: Target) -> Compiled:
        """Compile a commit of a set for a cluster. For a thread, as `order`: thousands of policies take seconds."""
        with self._lock:
            return self._compile(name, bundle, target)

    def _compile(self, name: str, bundle: Bundle, target: Target) -> Compiled:
        place = self._place(name, target)
        known = place.compiled.get(bundle.commit)
        if known is not None and known[0] is bundle:
            return known[1]
        compiled = compile_for(bundle.manifests, target, place.memory)
        _keep(place.compiled, bundle.commit, (bundle, compiled))
        commits = place.compiled.values()
        forget_others(place.memory, (manifest for other, _ in commits for manifest in other.manifests))
        forget_others(place.stamps, (manifest for _, other in commits for manifest in other.manifests))
        return compiled

    def order(
        self, policyset: PolicySet, bundle: Bundle, target: Target, standing: Callable[[], PolicyOrder | None]
    ) -> PolicyOrder:
        """Give what a cluster is ordered to hold of a commit.

        Args:
            policyset: the set.
            bundle: the commit.
            target: the cluster.
            standing: reads what it is ordered to hold now; large, so it is read only where it matters.
        """
        with self._lock:
            return self._order(policyset, bundle, target, standing)

    def _order(
        self, policyset: PolicySet, bundle: Bundle, target: Target, standing: Callable[[], PolicyOrder | None]
    ) -> PolicyOrder:
        name = policyset.metadata.name
        place, key = self._place(name, target), (bundle.commit, policyset.spec.mode)
        known = place.orders.get(key)
        if known is not None and known[0] is bundle:
            return known[1]
        compiled = self._compile(name, bundle, target)
        order = compile_order(policyset, bundle, compiled=compiled, standing=standing(), stamps=place.stamps)
        # What stays of files that cannot be enforced is what stands now: it is looked at each time.
        if not compiled.unenforceable:
            _keep(place.orders, key, (bundle, order))
        return order

    def _place(self, name: str, target: Target) -> _Place:
        place = self._places.get((name, target.cluster))
        if place is None or place.target != target:
            place = self._places[name, target.cluster] = _Place(target)
        return place


def _keep(known: dict[K, V], key: K, value: V) -> None:
    """Add an entry; the oldest ones go."""
    known.pop(key, None)
    known[key] = value
    while len(known) > _COMMITS_KEPT:
        del known[next(iter(known))]
