"""What is known at this moment: learned run times, and the traffic on links, as the scheduler sees them."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from atoll.federation.estimates import Estimates, TrafficLog
from atoll.federation.resources import Transfer
from atoll.hub.client import Client
from atoll.hub.estimates.table import Histories

# Reading a thousand finished transfers must not keep all else from its turn in the event loop.
_AT_ONCE = 64


class Knowledge:
    """Keeps what every hub knows up to date, and gives it as values that do not change."""

    def __init__(self, histories: Histories, client: Client, *, clock: Callable[[], datetime]) -> None:
        self.histories = histories
        self._client, self._clock = client, clock
        self._log = TrafficLog()
        self._estimates = Estimates()

    def estimates(self) -> Estimates:
        """Give what is known; the same object as long as it says the same."""
        histories, traffic = self.histories, self._log.traffic
        if self._estimates.revision != histories.revision:
            self._estimates = Estimates(dict(histories.known), traffic, histories.revision)
        elif self._estimates.traffic is not traffic:
            self._estimates = self._estimates.with_traffic(traffic)
        return self._estimates

    async def run(self) -> None:
        """Follow run times and transfers for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.histories.run(), name="hub-run-times")
            group.create_task(self._follow(), name="hub-traffic")

    async def _follow(self) -> None:
        fresh: set[str] = set()
        known: set[str] = set()
        number = 0
        async for seen in self._client.watch(Transfer):
            if seen.mark == "begin":
                fresh = set()
            elif seen.mark == "end":
                for key in known - fresh:
                    self._log.forget(key)
                known = fresh
            if seen.key is None:
                continue
            name = "/".join(seen.key)
            if seen.is_gone:
                fresh.discard(name)
                self._log.forget(name)
                continue
            fresh.add(name)
            if (transfer := seen.readable) is not None:
                self._log.note(transfer, self._clock())
            number += 1
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
