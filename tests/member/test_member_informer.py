"""The informer behind the door: what it tells, and what it survives; against real HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from atoll.edge.member.informer import Informer
from atoll.edge.member.kube import Kube, WatchEvent
from atoll.edge.member.objects import Kind, Object, Selection
from member.config_maps import CONFIG_MAP, LAB, config_map, name_of
from member.harness import on_any_cluster
from member.world import Cluster, eventually, node


@contextlib.asynccontextmanager
async def following(informer: Informer[Any]) -> AsyncIterator[list[str]]:
    """Run an informer for the time of a block; give the keys that its handlers hear."""
    heard: list[str] = []
    informer.on_change(heard.append)
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.has_synced.wait(), 10)
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def data_of(obj: Object) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((obj.get("data") or {}).items()))


async def has(informer: Informer[str], expected: dict[str, str]) -> None:
    async def look() -> bool:
        return dict(informer.items) == {f"lab/{name}": data for name, data in expected.items()}

    await eventually(look)


@on_any_cluster
async def test_an_informer_follows_adds_changes_and_deletions(lab: Cluster, kube: Kube) -> None:
    """Its copy is what `project` makes of each live object, and each change is told once."""
    await lab.create(config_map("one", a="1"))
    informer = Informer(kube, CONFIG_MAP, project=data_of, selection=LAB)
    async with following(informer) as heard:
        await has(informer, {"one": "a=1"})
        await lab.create(config_map("two", b="1"))
        await lab.edit("ConfigMap", "one", {"data": {"a": "2"}}, namespace="lab")
        await has(informer, {"one": "a=2", "two": "b=1"})
        await lab.delete("ConfigMap", "two", namespace="lab")
        await has(informer, {"one": "a=2"})
        assert heard == ["lab/one", "lab/two", "lab/one", "lab/two"]


@on_any_cluster
async def test_an_informer_that_keeps_nothing_of_an_object_tells_its_deletion_all_the_same(
    lab: Cluster, kube: Kube
) -> None:
    """What `project` makes of an object may be None; it is there as long as the object is."""
    informer = Informer(kube, CONFIG_MAP, project=lambda _obj: None, selection=LAB)
    async with following(informer) as heard:
        await lab.create(config_map("one"))
        await eventually(lambda: _has_heard(heard, 1))
        await lab.delete("ConfigMap", "one", namespace="lab")
        await eventually(lambda: _has_heard(heard, 2))
    assert heard == ["lab/one", "lab/one"]


async def _has_heard(heard: list[str], count: int) -> bool:
    return len(heard) == count


@on_any_cluster
async def test_an_informer_survives_a_restart_of_the_api_server(lab: Cluster, kube: Kube) -> None:
    """What changed while the server was away is told; what did not change is not told again."""
    await lab.create(config_map("same", a="1"))
    await lab.create(config_map("gone", a="1"))
    informer = Informer(kube, CONFIG_MAP, project=data_of, selection=LAB)
    async with following(informer) as heard:
        await has(informer, {"same": "a=1", "gone": "a=1"})
        heard.clear()
        await lab.stop_server()
        await lab.delete("ConfigMap", "gone", namespace="lab")
        await lab.create(config_map("new", a="1"))
        await asyncio.sleep(0.5)
        await lab.start_server()
        await has(informer, {"same": "a=1", "new": "a=1"})
        assert sorted(heard) == ["lab/gone", "lab/new"]


async def test_an_informer_lists_again_after_410(lab: Cluster, kube: Kube) -> None:
    """An expired watch costs a list and tells nothing that was known."""
    await lab.create(config_map("one", a="1"))
    lab.faults.expire_next_watches = 1
    informer = Informer(kube, CONFIG_MAP, project=data_of)
    async with following(informer) as heard:

        async def listed_twice() -> bool:
            return lab.faults.requests.count(("GET", "/api/v1/configmaps")) >= 4  # list, 410, list, watch

        await eventually(listed_twice)
        await lab.create(config_map("two", a="1"))
        await has(informer, {"one": "a=1", "two": "a=1"})
        assert heard == ["lab/one", "lab/two"]


class Forgetful:
    """An API server that is first asked to watch from a version of long ago."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.list = kube.list
        self.watched_from: list[str] = []

    def watch(self, kind: Kind, selection: Selection, *, resource_version: str) -> AsyncIterator[WatchEvent]:
        self.watched_from.append(resource_version if self.watched_from else "1")
        return self._kube.watch(kind, selection, resource_version=self.watched_from[-1])


@on_any_cluster
async def test_an_informer_whose_position_is_too_old_misses_and_repeats_nothing(lab: Cluster, kube: Kube) -> None:
    """Whether the server replays what was or answers 410, each object is told once and later changes are heard."""
    await lab.create(config_map("one", a="1"))
    server = Forgetful(kube)
    informer = Informer(server, CONFIG_MAP, project=data_of, selection=LAB)
    async with following(informer) as heard:

        async def is_watching() -> bool:
            return bool(server.watched_from)

        await eventually(is_watching)
        await lab.create(config_map("two", a="1"))
        await has(informer, {"one": "a=1", "two": "a=1"})
        assert heard == ["lab/one", "lab/two"]


async def test_an_informer_survives_throttling_and_slowness(lab: Cluster, kube: Kube) -> None:
    """A server that is slow and answers 429 is followed all the same."""
    lab.faults.delay_seconds = 0.3
    lab.faults.throttle_next = 2
    informer = Informer(kube, CONFIG_MAP, project=data_of)
    async with following(informer):
        await lab.create(config_map("one", a="1"))
        await has(informer, {"one": "a=1"})


@on_any_cluster
async def test_an_informer_of_a_kind_that_is_missing_is_complete_and_empty(lab: Cluster, kube: Kube) -> None:
    """A cluster without a CRD has none of its objects, which is an answer."""
    informer = Informer(kube, Kind("x.dev/v1", "X"), project=data_of)
    async with following(informer):
        assert dict(informer.items) == {}


async def test_an_informer_whose_watches_are_cut_at_once_asks_with_pauses(lab: Cluster, kube: Kube) -> None:
    """A proxy that ends every watch immediately is not asked at full speed."""
    lab.faults.end_watches = True
    informer = Informer(kube, CONFIG_MAP, project=data_of)
    async with following(informer):
        lab.faults.requests.clear()
        await asyncio.sleep(1.5)
        assert 1 <= len(lab.faults.requests) <= 8

        async def complains() -> bool:
            return "at once" in informer.problem

        await eventually(complains)
        lab.faults.end_watches = False
        await lab.create(config_map("one", a="1"))
        await has(informer, {"one": "a=1"})


@on_any_cluster
async def test_cluster_scoped_objects_are_keyed_by_name(lab: Cluster, kube: Kube) -> None:
    """A node's key is its name."""
    await lab.create(node("n7"))
    informer = Informer(kube, Kind("v1", "Node"), project=name_of)
    async with following(informer):
        assert dict(informer.items) == {"n7": "n7"}
