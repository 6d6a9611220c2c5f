"""What histories have shown to be wrong, each in as little as shows it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from atoll.edge.sink.arrival import Arrival
from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.form import Form
from atoll.edge.sink.shelf import Shelf
from atoll.edge.sink.volume import Volume
from atoll.federation.bus import envelope
from atoll.federation.resources import PolicySet, Queue
from atoll.hub.client import Client
from atoll.hub.controllers.namespaces import NamespaceController
from atoll.hub.controllers.policy_source import PolicyReader, Reading, source_of
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from twin.disk import Disk, mounted
from twin.machine import EPOCH, Killed, Machine, Process, VirtualClock, VirtualLoop


class _Ahead(MemoryStorage):
    """Storage that has, at first, something newer than what it lets a follower hear."""

    is_heard = False

    async def revision(self) -> int:
        return await super().revision() + (0 if self.is_heard else 1)


def _queues(store: Store) -> AsyncIterator[Any]:
    return Client(store).watch(Queue)


def _namespaces(store: Store) -> AsyncIterator[Any]:
    (source,) = NamespaceController(SimpleNamespace(client=Client(store))).sources()  # type: ignore[arg-type]
    return source.keys()


@pytest.mark.parametrize("watched", [_queues, _namespaces])
def test_a_watch_that_begins_while_the_cache_is_behind_waits_for_it(
    watched: Callable[[Store], AsyncIterator[Any]],
) -> None:
    """Seed 16: a hub that began to lead just then ended with "Too large resource version"."""
    loop, storage, seen = VirtualLoop(VirtualClock(), Random(0)), _Ahead(), []
    store = Store(build_registry(ExistingObjects()), storage)

    async def watch() -> None:
        async for one in watched(store):
            seen.append(one)

    async def course() -> None:
        await store.start()
        watching = asyncio.create_task(watch())
        await asyncio.sleep(60)
        assert not watching.done()
        seen.clear()
        storage.is_heard = True
        namespaces = store.registry.by_kind("", "Namespace")
        assert namespaces is not None
        await store.create(namespaces, {"metadata": {"name": "lab"}})
        await asyncio.sleep(60)
        assert seen
        watching.cancel()
        await store.close()

    try:
        loop.run_until_complete(course())
    finally:
        loop.end([])


@pytest.mark.parametrize(("clock_moved", "due"), [(0.0, 60.0), (45.0, 15.0), (90.0, 0.05), (-3600.0, 0.05)])
def test_policies_are_not_left_unread_for_as_long_as_a_clock_was_set_back(clock_moved: float, due: float) -> None:
    """Seed 57: a hub whose clock was eleven minutes behind for a moment did not look at Git for eleven minutes."""
    read_at = EPOCH
    context = SimpleNamespace(clock=lambda: read_at + timedelta(seconds=clock_moved))
    spec = {"source": {"repository": "https://git.example.org/policies", "interval": "60s"}}
    policyset = PolicySet.model_validate({"metadata": {"name": "base"}, "spec": spec})
    reader = PolicyReader(context)  # type: ignore[arg-type]
    assert reader.due_seconds(policyset, Reading(source_of(policyset), None, read_at)) == pytest.approx(due)


def test_a_sink_promises_nothing_by_names_that_a_killed_one_has_not_synced(tmp_path: Path) -> None:
    """Seeds 848 and 1223 of readings: a folder that a killed sink had made went with the next power cut."""
    arrival = Arrival(
        envelope.Envelope("0" * 32, "lab", "ns", "s", "d", 1, 1, (envelope.Reading(1, "t", b"x"),)), Form()
    )
    progress = Progress("lab", "s").after(arrival.envelope).at(1, "log")
    is_killed, steps = True, 0
    while is_killed:
        disk, process = Disk(tmp_path / str(steps)), Process("sink", Machine("box"))
        process.steps_left, process.is_in_thread = steps, True
        with mounted(disk), contextlib.suppress(Killed):
            process.context.run(Shelf(Volume(disk.root)).append, [arrival], progress)
        is_killed, steps = not process.is_alive, steps + 1
        with mounted(disk):
            second = Shelf(Volume(disk.root))
            second.scan()
            second.append([arrival], progress)
            disk.cut("everything", Random(0))
            third = Shelf(Volume(disk.root))
            third.scan()
            assert third.committed("lab", "s") == second.committed("lab", "s") == progress
    assert steps > 20
