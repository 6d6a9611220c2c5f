"""What pages may read from: rows kept up with the watch cache, single objects, and the API as the user who looks.

Owns one set of rows per shelf, for all who look. It gives values and decides nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from atoll.federation.bus.messages import PolicyOrder
from atoll.federation.resources import Resource
from atoll.hub.client import Client
from atoll.hub.dashboard.fleet.clusters import CLUSTERS
from atoll.hub.dashboard.inside import Answer, Inside
from atoll.hub.dashboard.queues.rows import QUEUES
from atoll.hub.dashboard.queues.trend import SECONDS, Trend, look
from atoll.hub.dashboard.rows import Rows, Shelf

Row = TypeVar("Row")
R = TypeVar("R", bound=Resource)
Orders = Callable[[str, str], PolicyOrder | None]

# How often rows are read that nobody looks at: below the time in which the cache forgets, at a few thousand changes.
_IDLE_SECONDS = 1.0


class Sources:
    """Where the data of pages comes from; shared by all requests."""

    def __init__(self, client: Client, inside: Inside, *, clock: Callable[[], datetime], orders: Orders) -> None:
        self._client, self.inside, self.clock, self._orders = client, inside, clock, orders
        self._rows: dict[Shelf[Any], Rows[Any]] = {}
        self.trend = Trend()

    def shelf(self, shelf: Shelf[Row]) -> Rows[Row]:
        """Give the rows of a shelf, which are made when they are first asked for, and kept up from then on."""
        found = self._rows.get(shelf)
        if found is None:
            namespaced = self._client.type_of(shelf.model).namespaced
            found = self._rows[shelf] = Rows(shelf, self._client.follow(shelf.model), namespaced=namespaced)
        return found

    async def rows(self, shelf: Shelf[Row]) -> Mapping[str, Row]:
        """Give the current rows of a shelf."""
        return await self.shelf(shelf).current()

    async def get(self, model: type[R], namespace: str | None, name: str) -> R | None:
        """Give one object as its kind; None if there is none. Whether the user may see it is for the caller to ask."""
        return await self._client.get(model, namespace, name)

    async def several(self, model: type[R], namespace: str | None = None, *, name_prefix: str = "") -> list[R]:
        """Give the objects of a kind whose names begin so; for a few, such as the runs of one job."""
        return await self._client.list(model, namespace, name_prefix=name_prefix)

    def namespaces(self) -> Sequence[str]:
        """Name the namespaces, in order."""
        rt = self._client.store.registry.by_kind("", "Namespace")
        assert rt is not None, "the registry of the hub serves namespaces"
        return [key.rpartition("/")[2] for key in self._client.store.cache.bucket(rt.prefix).keys(rt.prefix)]

    def policy_order(self, cluster: str, policyset: str) -> PolicyOrder | None:
        """Give what a cluster was ordered to hold of a policy set; None if nothing was."""
        return self._orders(cluster, policyset)

    async def ask(self, credential: str, path: str) -> Answer:
        """GET a path of the hub's API as the user who looks, such as audit records or a job's use."""
        return await self.inside.call("GET", path, credential=credential)

    async def keep_trend(self) -> None:
        """Look at the whole from time to time, for ever."""
        while True:
            queues = await self.rows(QUEUES)
            self.trend.take(look(await self.rows(CLUSTERS), queues, self.clock()))
            await asyncio.sleep(SECONDS)

    async def keep_up(self, *first: Shelf[Any]) -> None:
        """Read changes as they come, for ever: who looks next finds rows almost current; `first` are read at once."""
        for shelf in first:
            await self.rows(shelf)
        while True:
            for rows in list(self._rows.values()):
                await rows.current()
            await asyncio.sleep(_IDLE_SECONDS)
