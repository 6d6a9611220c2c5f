"""What a sink tells stands in the end, whatever a connection that broke has left behind."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from atoll.edge.sink import reports as room
from atoll.edge.sink.ledger import VersionLedger
from atoll.edge.sink.reports import Reports
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import DatasetReport
from atoll.federation.errors import Unavailable

KEY = "dataset/ns/x"


class Nats:
    """The table of a sink, as far as a sink sees it: it keeps what comes last."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.is_away = False
        self._callbacks: list[Callable[[], None]] = []

    def own_table(self, _stream: str, _prefix: str) -> "Nats":
        return self

    async def put(self, key: str, value: bytes) -> int:
        if self.is_away:
            raise Unavailable("no answer")
        self.values[key] = value
        return len(self.values)

    @contextlib.contextmanager
    def on_reconnect(self, callback: Callable[[], None]) -> Iterator[None]:
        self._callbacks.append(callback)
        yield

    def come_back(self) -> None:
        self.is_away = False
        for callback in self._callbacks:
            callback()

    async def says(self, *, complete: bool) -> None:
        """Wait until the dataset is told so."""
        async with asyncio.timeout(30):
            while KEY not in self.values or DatasetReport.decode(self.values[KEY]).complete != complete:
                await asyncio.sleep(0.01)


@pytest.fixture
async def sink(monkeypatch: pytest.MonkeyPatch) -> tuple[Nats, Reports]:
    """A sink that has told of a dataset that grows, and then that it is complete."""
    monkeypatch.setattr(room, "_SPREAD_SECONDS", 0.0)
    nats = Nats()
    return nats, Reports(cast("Bus", nats), cluster="onprem", namespace="ns", token="-")


async def test_a_write_that_was_given_up_on_and_comes_late_does_not_stand(sink: tuple[Nats, Reports]) -> None:
    """NATS may store what was sent over the broken connection after what was sent over the next one."""
    nats, reports = sink
    async with asyncio.TaskGroup() as group:
        running = group.create_task(reports.run())
        reports.dataset(VersionLedger(dataset="x", version=1))
        await nats.says(complete=False)
        late = nats.values[KEY]
        reports.dataset(VersionLedger(dataset="x", version=1, complete=True))
        await nats.says(complete=True)
        nats.values[KEY] = late
        nats.come_back()
        await nats.says(complete=True)
        running.cancel()


async def test_what_was_told_long_ago_is_not_told_again(
    sink: tuple[Nats, Reports], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that forgot a dataset meanwhile is not told of it; a sink with ten thousand of them floods nobody."""
    nats, reports = sink
    async with asyncio.TaskGroup() as group:
        running = group.create_task(reports.run())
        reports.dataset(VersionLedger(dataset="old", version=1))
        reports.dataset(VersionLedger(dataset="x", version=1))
        await nats.says(complete=False)
        monkeypatch.setattr(room, "_RECENT_SECONDS", 0.0)
        reports.dataset(VersionLedger(dataset="x", version=1, complete=True))
        await nats.says(complete=True)
        nats.values.clear()
        nats.come_back()
        await nats.says(complete=True)
        assert nats.values.keys() == {KEY}
        running.cancel()
