"""The objects of one kind for a controller that looks at all of them at each step: each state is decoded once.

Owns the decoded copies, as many as there are objects. It reads as `Store.list` does, so it is never behind a write.
"""

from __future__ import annotations

from atoll.kubeapi.bucket import Entry
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.store import Store


class Copies:
    """The objects of one kind, in all namespaces."""

    def __init__(self, store: Store, resource: ResourceType) -> None:
        """Decode nothing until it is asked for."""
        self._store, self._resource = store, resource
        self._known: dict[str, tuple[Entry, Object]] = {}

    async def list(self) -> list[Object]:
        """Return every object as it is now, for reading only."""
        page, before = await self._store.page(self._resource), self._known
        self._known = {entry.key: self._copy(entry, before.get(entry.key)) for entry in page.entries}
        return [obj for _, obj in self._known.values()]

    def _copy(self, entry: Entry, known: tuple[Entry, Object] | None) -> tuple[Entry, Object]:
        if known is not None and known[0] is entry:  # an entry is never changed, so it is its own version
            return known
        return entry, self._resource.decode(entry.raw)
