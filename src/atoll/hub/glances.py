"""What is known of objects that are not parsed: most have ended, and a phase is all that anybody asks of them.

Owns that each object is looked into once per revision, and that others have their turn meanwhile. It must not know what
a phase means, but for that of a job which is asked to begin again.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from atoll.kubeapi.bucket import Entry
from atoll.kubeapi.cache import WatchCache

# Looking into one object takes some 20 µs.
_AT_ONCE = 500


class Glance(NamedTuple):
    """What is read of an object that is not parsed. `is_leaving` says that its deletion was asked for.

    `unmet` names the conditions that are False, with spaces between: one text that all objects share.
    """

    revision: int
    phase: str
    is_leaving: bool
    unmet: str


class Tally(NamedTuple):
    """How many objects of a kind are in each phase, and of how many each condition is False."""

    phases: Mapping[str, int] = MappingProxyType({})
    unmet: Mapping[str, int] = MappingProxyType({})


class Glances:
    """Looks into the objects of a store's cache, by the prefix of their kind."""

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._known: dict[str, dict[str, Glance]] = {}

    def of(self, prefix: str, entry: Entry) -> Glance:
        """Look into one object."""
        glances = self._known.setdefault(prefix, {})
        known = glances.get(entry.key)
        if known is None or known.revision != entry.revision:
            obj = entry.decode()
            is_leaving = "deletionTimestamp" in obj["metadata"]
            phase, unmet = sys.intern(phase_of(obj)), sys.intern(_unmet(obj))
            known = glances[entry.key] = Glance(entry.revision, phase, is_leaving, unmet)
        return known

    async def over(self, prefix: str) -> AsyncIterator[list[tuple[Entry, Glance]]]:
        """Look into all objects of a kind, ordered by key, some at once; then forget those that are gone."""
        bucket = self._cache.bucket(prefix)
        keys = bucket.keys(prefix)
        for start in range(0, len(keys), _AT_ONCE):
            await asyncio.sleep(0)
            some = map(bucket.entries.get, keys[start : start + _AT_ONCE])
            yield [(entry, self.of(prefix, entry)) for entry in some if entry is not None]  # it may be gone by now
        self._forget_gone(prefix)

    def _forget_gone(self, prefix: str) -> None:
        glances, entries = self._known.get(prefix, {}), self._cache.bucket(prefix).entries
        for key in glances.keys() - entries.keys() if len(glances) > len(entries) else ():
            del glances[key]


def phase_of(obj: Mapping[str, Any]) -> str:
    """Give the phase; a job that has ended and is to be placed again has not ended for good, and is named so."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    is_asked = spec.get("requeues", 0) > status.get("requeue", {}).get("answered", 0) and not spec.get("cancelled")
    return "Requeued" if is_asked else str(status.get("phase", ""))


def _unmet(obj: Mapping[str, Any]) -> str:
    conditions = obj.get("status", {}).get("conditions", ())
    return " ".join(each["type"] for each in conditions if each["status"] == "False")
