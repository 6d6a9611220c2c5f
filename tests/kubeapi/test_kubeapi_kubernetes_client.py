"""The Kubernetes project's Python client works on a hub and on a cluster: synchronous, asynchronous, dynamic, informer.

All find the server through a kubeconfig file.
"""

import asyncio
import itertools
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from kubernetes import client, config, dynamic, informer, watch
from kubernetes.aio import client as aio
from kubernetes.aio import config as aio_config
from kubernetes.aio import watch as aio_watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, UnprocessibleEntityError

from kubeapi.targets import Target
from kubeapi.things import Json
from kubeapi.told import Told
from sandbox.worlds import eventually

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


class Custom:
    """One kind of thing through CustomObjectsApi of either library: every call names the same place."""

    def __init__(self, api: Any, told: Told) -> None:
        group, version, plural = told.thing.place
        self.place = (group, version, told.kubectl.namespace, plural)
        self.api = api
        self.list = api.list_namespaced_custom_object

    def create(self, body: Json) -> Any:
        return self.api.create_namespaced_custom_object(*self.place, body)

    def get(self, name: str) -> Any:
        return self.api.get_namespaced_custom_object(*self.place, name)

    def replace(self, name: str, body: Json) -> Any:
        return self.api.replace_namespaced_custom_object(*self.place, name, body)

    def patch(self, name: str, body: Any, kind: str, **options: Any) -> Any:
        return self.api.patch_namespaced_custom_object(*self.place, name, body, _content_type=kind, **options)

    def delete(self, name: str) -> Any:
        return self.api.delete_namespaced_custom_object(*self.place, name)


def value_of(told: Told, obj: Json) -> Any:
    for name in told.thing.change.path:
        obj = obj[name]
    return obj


@pytest.fixture
def api(told: Told) -> Iterator[Any]:
    """A synchronous client of the thing's server."""
    with config.new_client_from_config(config_file=str(told.kubectl.kubeconfig)) as made:
        yield made


@pytest.fixture
async def aio_api(told: Told) -> AsyncIterator[Any]:
    """An asynchronous client of the thing's server."""
    async with await aio_config.new_client_from_config(config_file=str(told.kubectl.kubeconfig)) as made:
        yield made


def test_the_dynamic_client_discovers_a_kind_and_uses_every_verb(told: Told, api: Any, tmp_path: Any) -> None:
    found = dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))
    things = found.resources.get(api_version=told.thing.api_version, kind=told.thing.kind)
    place, (first, second, third) = {"namespace": told.kubectl.namespace}, told.thing.change.values
    made = things.create(body=told.thing.manifest("a", labels={"tier": "front"}), **place)
    assert value_of(told, made.to_dict()) == first
    merged = things.patch(body=told.thing.change.patch(second), name="a", content_type=MERGE, **place)
    assert value_of(told, merged.to_dict()) == second
    steps = [{"op": "replace", "path": "/" + "/".join(told.thing.change.path), "value": third}]
    assert value_of(told, things.patch(body=steps, name="a", content_type=JSON_PATCH, **place).to_dict()) == third
    listed = things.get(label_selector="tier in (front)", **place)
    assert [item.metadata.name for item in listed.items] == ["a"]
    version = listed.metadata.resourceVersion
    things.delete(name="a", **place)
    with pytest.raises(NotFoundError):
        things.get(name="a", **place)
    seen = things.watch(resource_version=version, timeout=1, **place)
    assert [event["type"] for event in seen][-1] == "DELETED"


def test_a_refusal_is_the_dynamic_clients_own_error_with_its_causes(told: Told, api: Any, tmp_path: Any) -> None:
    found = dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))
    things = found.resources.get(api_version=told.thing.api_version, kind=told.thing.kind)
    place = {"namespace": told.kubectl.namespace}
    things.server_side_apply(body=told.thing.changed("a", 0), field_manager="one", **place)
    with pytest.raises(ConflictError) as conflict:
        things.server_side_apply(body=told.thing.changed("a", 1), field_manager="two", **place)
    assert "." + ".".join(told.thing.change.path) in str(conflict.value.body)
    forced = things.server_side_apply(
        body=told.thing.changed("a", 1), field_manager="two", force_conflicts=True, **place
    )
    assert value_of(told, forced.to_dict()) == told.thing.change.values[1]
    with pytest.raises(UnprocessibleEntityError) as invalid:
        things.create(body=told.thing.manifest("b", spec=told.thing.wrong), **place)
    assert all(field in str(invalid.value.body) for field in told.thing.faults)


def test_a_watch_goes_on_from_a_list_and_sees_each_change(told: Told, api: Any) -> None:
    custom = Custom(client.CustomObjectsApi(api), told)
    custom.create(told.thing.manifest("old"))
    version = custom.list(*custom.place)["metadata"]["resourceVersion"]
    custom.create(told.thing.manifest("new", labels={"tier": "front"}))
    custom.patch("new", {"metadata": {"labels": {"tier": "back"}}}, MERGE)
    custom.delete("new")
    events = watch.Watch().stream(
        custom.list, *custom.place, resource_version=version, label_selector="tier=front", timeout_seconds=1
    )
    seen = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert [each for each in seen if each[0] != "MODIFIED"] == [("ADDED", "new"), ("DELETED", "new")]


def test_a_stale_replace_is_refused_and_pages_make_one_list(told: Told, api: Any) -> None:
    custom = Custom(client.CustomObjectsApi(api), told)
    for name in "abcde":
        custom.create(told.thing.manifest(name))
    old = custom.get("a")
    custom.patch("a", {"metadata": {"labels": {"l": "1"}}}, MERGE)
    with pytest.raises(ApiException) as refused:
        custom.replace("a", old)
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    assert "the object has been modified" in refused.value.body
    page = custom.list(*custom.place, limit=2)
    custom.delete("c")
    names, versions = [], set()
    while True:
        names += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        if not page["metadata"].get("continue"):
            break
        page = custom.list(*custom.place, limit=2, _continue=page["metadata"]["continue"])
    assert (names, len(versions)) == (list("abcde"), 1)


async def test_the_asynchronous_client_uses_every_verb(told: Told, aio_api: Any) -> None:
    custom = Custom(aio.CustomObjectsApi(aio_api), told)
    first, second, third = told.thing.change.values
    version = (await custom.list(*custom.place))["metadata"]["resourceVersion"]
    made = await custom.create(told.thing.manifest("a"))
    assert value_of(told, made) == first
    await asyncio.to_thread(told.settle, "a")
    newest = await custom.get("a")
    newest["spec"][told.thing.change.path[-1]] = second
    assert value_of(told, await custom.replace("a", newest)) == second
    await custom.patch("a", told.thing.change.patch(third), MERGE)
    await custom.delete("a")
    seen = []
    async with aio_watch.Watch() as stream:
        async for event in stream.stream(custom.list, *custom.place, resource_version=version, timeout_seconds=1):
            seen.append((event["type"], value_of(told, event["object"])))
    assert [kind for kind, _ in seen[:1] + seen[-1:]] == ["ADDED", "DELETED"]
    assert [value for value, _ in itertools.groupby(value for _, value in seen)] == [first, second, third]


async def test_the_asynchronous_client_applies_and_writes_the_status_apart(told: Told, aio_api: Any) -> None:
    custom = Custom(aio.CustomObjectsApi(aio_api), told)
    await custom.patch("a", told.thing.changed("a", 0), APPLY, field_manager="one")
    with pytest.raises(aio.ApiException) as refused:
        await custom.patch("a", told.thing.changed("a", 1), APPLY, field_manager="two")
    assert refused.value.status == 409
    await custom.patch("a", told.thing.changed("a", 1), APPLY, field_manager="two", force=True)
    body = {**told.thing.change.patch(told.thing.change.values[2]), "status": {"observedGeneration": 1}}
    written = await custom.api.patch_namespaced_custom_object_status(*custom.place, "a", body, _content_type=MERGE)
    assert value_of(told, written) == told.thing.change.values[1]


def test_typed_objects_and_an_informer_follow_the_namespaces(target: Target) -> None:
    with config.new_client_from_config(config_file=str(target.kubeconfig)) as api:
        core, names = client.CoreV1Api(api), [f"i-{uuid.uuid4().hex[:8]}" for _ in range(2)]
        mark = {"told": names[0]}

        def make(name: str) -> Any:
            return core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name, labels=mark)))

        make(names[0])
        following = informer.SharedInformer(core.list_namespace, label_selector=f"told={names[0]}")
        seen: list[tuple[str, str]] = []
        for kind in (informer.ADDED, informer.MODIFIED, informer.DELETED):
            following.add_event_handler(kind, lambda obj, kind=kind: seen.append((kind, obj.metadata.name)))
        following.start()
        try:
            eventually(lambda: ("ADDED", names[0]) in seen, what="the list of the informer")
            assert make(names[1]).status.phase == "Active"
            core.patch_namespace(names[1], {"metadata": {"annotations": {"sky.dev/note": "x"}}})
            eventually(lambda: ("MODIFIED", names[1]) in seen, what="the change")
            core.delete_namespace(names[0])
            eventually(lambda: ("DELETED", names[0]) in seen, what="the deletion")
            assert [obj.metadata.name for obj in following.cache.list()] == [names[1]]
        finally:
            threading.Thread(target=core.delete_namespace, args=(names[1],)).start()  # lets the informer's watch end
            following.stop()
        assert seen.count(("ADDED", names[0])) == seen.count(("ADDED", names[1])) == 1
