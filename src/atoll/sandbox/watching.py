"""Following a kind in the cluster's store for ever.

Owns starting again when history was lost; consumers see levels: after a restart every object comes as ADDED again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from atoll.kubeapi.errors import Gone
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.store import Store, WatchEvent


async def follow(store: Store, rt: ResourceType) -> AsyncIterator[WatchEvent]:
    """Yield every object of a kind as it is now, then every change; ends when the store closes."""
    while not store.cache.is_closed:
        try:
            async for event in store.watch(rt):
                yield event
        except Gone:
            continue
