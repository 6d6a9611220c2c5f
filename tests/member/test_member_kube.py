"""The door to the API server and the informer behind it: pages, watches, errors, patience; against real HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atoll.edge.member import kube as kube_door
from atoll.edge.member.errors import Expired, KindNotServed
from atoll.edge.member.informer import Informer
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind, Object, ObjectRef, Selection, was_applied_by
from atoll.federation.errors import Conflict, InvalidInput, Unavailable
from member.world import Cluster, eventually, node

CONFIG_MAP = Kind("v1", "ConfigMap")


def config_map(name: str, **data: str) -> Object:
    metadata = {"name": name, "namespace": "lab", "labels": {"app": "x"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def ref(name: str) -> ObjectRef:
    return ObjectRef(CONFIG_MAP, "lab", name)


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


@pytest.fixture
async def lab(cluster: Cluster) -> Cluster:
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}})
    return cluster


async def test_an_object_is_applied_read_replaced_and_deleted(lab: Cluster, kube: Kube) -> None:
    """The generic verbs work on plain dicts of any kind."""
    applied = await kube.server_side_apply(config_map("one", a="1"))
    assert was_applied_by(applied, "atoll")
    assert await kube.get(ref("one")) == applied
    replaced = await kube.replace(applied | {"data": {"b": "2"}})
    assert replaced["data"] == {"b": "2"}
    with pytest.raises(Conflict):
        await kube.replace(applied | {"data": {"c": "3"}})
    with pytest.raises(Conflict):
        await kube.delete(ref("one"), uid="another-incarnation")
    assert await kube.delete(ref("one"))
    assert not await kube.delete(ref("one"))
    assert await kube.get(ref("one")) is None


async def test_applying_the_same_again_changes_nothing(lab: Cluster, kube: Kube) -> None:
    """A second apply of the same manifest keeps the resourceVersion, so that it wakes no watcher."""
    first = await kube.server_side_apply(config_map("one", a="1"))
    again = await kube.server_side_apply(config_map("one", a="1"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_list_is_read_page_by_page_and_typed(lab: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """All objects come, each with its apiVersion and kind, over as many requests as there are pages."""
    monkeypatch.setattr(kube_door, "PAGE_SIZE", 3)
    for number in range(7):
        await lab.create(config_map(f"c{number}"))
    lab.faults.requests.clear()
    selection = Selection("lab", label_selector="app=x")
    listing = await kube.list(CONFIG_MAP, selection, project=lambda obj: (obj["kind"], name_of(obj)))
    assert sorted(listing.items) == [("ConfigMap", f"c{number}") for number in range(7)]
    assert lab.faults.requests.count(("GET", "/api/v1/namespaces/lab/configmaps")) == 3


UNKNOWN = {"apiVersion": "x.dev/v1", "kind": "X", "metadata": {"name": "x"}}
ERRORS: dict[str, tuple[Object, type[Exception], str]] = {
    "an unknown kind": (
        {"apiVersion": "x.dev/v1", "kind": "X", "metadata": {"name": "x"}},
        KindNotServed,
        "x.dev/v1 X",
    ),
    "no namespace": ({**config_map("x"), "metadata": {"name": "x"}}, InvalidInput, "metadata.namespace"),
    "no name": ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, InvalidInput, "metadata.name"),
    "a wrong type": ({**config_map("x"), "data": 7}, InvalidInput, "data"),
}


@pytest.mark.parametrize("what", ERRORS)
async def test_what_cannot_be_applied_is_refused_with_the_field(lab: Cluster, kube: Kube, what: str) -> None:
    """The error is of the right kind and names what to mend."""
    manifest, error, words = ERRORS[what]
    with pytest.raises(error, match=words):
        await kube.server_side_apply(manifest)


async def test_a_server_that_asks_for_patience_gets_it(lab: Cluster, kube: Kube) -> None:
    """After 429 with Retry-After the request is sent again after that time, and succeeds."""
    await kube.get(ref("warm-up"))
    lab.faults.throttle_next = 2
    began = asyncio.get_running_loop().time()
    await kube.server_side_apply(config_map("one"))
    assert asyncio.get_running_loop().time() - began >= 2.0


async def test_an_absent_server_is_unavailable(lab: Cluster, kube: Kube) -> None:
    """No exception of the client library leaves the door."""
    await lab.stop_server()
    with pytest.raises(Unavailable, match="cannot be reached"):
        await kube.version()
    await lab.start_server()
    assert await kube.version() == "v1.33.1+k3s1"


async def test_a_server_that_is_too_slow_is_unavailable(
    lab: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request gives up in time instead of hanging."""
    monkeypatch.setattr(kube_door, "REQUEST_SECONDS", 0.2)
    lab.faults.delay_seconds = 2.0
    with pytest.raises(Unavailable, match="in time"):
        await kube.version()


async def test_a_watch_from_a_version_that_is_too_old_expires(lab: Cluster, kube: Kube) -> None:
    """410 becomes Expired: list again."""
    lab.faults.expire_next_watches = 1
    with pytest.raises(Expired):
        async for _ in kube.watch(CONFIG_MAP, resource_version="1"):
            pass


@pytest.mark.parametrize(
    "content", ["", "clusters: [", "apiVersion: v1\nkind: Config\n"], ids=["empty", "broken", "bare"]
)
async def test_a_bad_kubeconfig_is_refused_by_name(tmp_path: Path, content: str) -> None:
    """The error names the file."""
    path = tmp_path / "bad-kubeconfig"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="bad-kubeconfig"):
        await Kube.connect(path)


async def test_the_credentials_of_the_kubeconfig_are_sent(lab: Cluster, kube: Kube) -> None:
    """Every request bears the user's token."""
    await kube.version()
    assert lab.faults.authorization == b"Bearer secret-of-the-test"


async def test_outside_a_pod_a_kubeconfig_is_needed() -> None:
    """Without kubeconfig and service account the error says what is missing."""
    with pytest.raises(InvalidInput, match="service account"):
        await Kube.connect(None)


# --- the informer


@contextlib.asynccontextmanager
async def following(informer: Informer[str]) -> AsyncIterator[list[str]]:
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


async def test_an_informer_follows_adds_changes_and_deletions(lab: Cluster, kube: Kube) -> None:
    """Its copy is what `project` makes of each live object, and each change is told once."""
    await lab.create(config_map("one", a="1"))
    informer = Informer(kube, CONFIG_MAP, project=data_of)
    async with following(informer) as heard:
        await has(informer, {"one": "a=1"})
        await lab.create(config_map("two", b="1"))
        await lab.edit("ConfigMap", "one", {"data": {"a": "2"}}, namespace="lab")
        await has(informer, {"one": "a=2", "two": "b=1"})
        await lab.delete("ConfigMap", "two", namespace="lab")
        await has(informer, {"one": "a=2"})
        assert heard == ["lab/one", "lab/two", "lab/one", "lab/two"]


async def test_an_informer_survives_a_restart_of_the_api_server(lab: Cluster, kube: Kube) -> None:
    """What changed while the server was away is told; what did not change is not told again."""
    await lab.create(config_map("same", a="1"))
    await lab.create(config_map("gone", a="1"))
    informer = Informer(kube, CONFIG_MAP, project=data_of)
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


async def test_an_informer_survives_throttling_and_slowness(lab: Cluster, kube: Kube) -> None:
    """A server that is slow and answers 429 is followed all the same."""
    lab.faults.delay_seconds = 0.3
    lab.faults.throttle_next = 2
    informer = Informer(kube, CONFIG_MAP, project=data_of)
    async with following(informer):
        await lab.create(config_map("one", a="1"))
        await has(informer, {"one": "a=1"})


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


async def test_cluster_scoped_objects_are_keyed_by_name(lab: Cluster, kube: Kube) -> None:
    """A node's key is its name."""
    await lab.create(node("n7"))
    informer = Informer(kube, Kind("v1", "Node"), project=name_of)
    async with following(informer):
        assert dict(informer.items) == {"n7": "n7"}
