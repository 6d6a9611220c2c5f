"""The Kubernetes project's asynchronous Python client works on the API server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from kubernetes.aio import client, watch
from kubernetes.aio.client.exceptions import ApiException

from atoll.kubeapi.patch import Patch
from atoll.kubeapi.store import Store
from kubeapi.kinds import CONFIG_MAP, WIDGET, config_map, widget


@pytest.fixture
async def api(server: str) -> AsyncIterator[client.ApiClient]:
    """A client of the server."""
    configuration = client.Configuration()
    configuration.host = server
    async with client.ApiClient(configuration) as api:
        yield api


async def test_typed_objects_are_created_read_replaced_listed_and_deleted(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a"), data={"x": "1"})
    created = await core.create_namespaced_config_map("default", body)
    created.data["y"] = "2"
    replaced = await core.replace_namespaced_config_map("a", "default", created)
    listed = await core.list_namespaced_config_map("default")
    await core.delete_namespaced_config_map("a", "default")
    assert replaced.data == {"x": "1", "y": "2"}
    assert [item.metadata.name for item in listed.items] == ["a"]
    assert int(replaced.metadata.resource_version) > int(created.metadata.resource_version)
    assert (await core.list_config_map_for_all_namespaces()).items == []


async def test_a_stale_replace_is_refused_with_409(api: client.ApiClient, store: Store) -> None:
    core = client.CoreV1Api(api)
    await store.create(CONFIG_MAP, config_map("a", x="1"))
    old = await core.read_namespaced_config_map("a", "default")
    await store.patch(CONFIG_MAP, "default", "a", Patch("merge", {"data": {"x": "2"}}))
    old.data["x"] = "3"
    with pytest.raises(ApiException) as refused:
        await core.replace_namespaced_config_map("a", "default", old)
    assert refused.value.status == 409
    assert "the object has been modified" in refused.value.body


async def test_pages_of_a_list_are_one_consistent_list(api: client.ApiClient, store: Store) -> None:
    core = client.CoreV1Api(api)
    for index in range(7):
        await store.create(CONFIG_MAP, config_map(f"c{index}"))
    page = await core.list_namespaced_config_map("default", limit=3)
    await store.delete(CONFIG_MAP, "default", "c5")
    await store.create(CONFIG_MAP, config_map("c3x"))
    names = [item.metadata.name for item in page.items]
    versions = {page.metadata.resource_version}
    while page.metadata._continue:
        page = await core.list_namespaced_config_map("default", limit=3, _continue=page.metadata._continue)
        names += [item.metadata.name for item in page.items]
        versions.add(page.metadata.resource_version)
    assert names == [f"c{index}" for index in range(7)]
    assert len(versions) == 1


async def test_a_watch_goes_on_from_a_list(api: client.ApiClient, store: Store) -> None:
    custom = client.CustomObjectsApi(api)
    await store.create(WIDGET, widget("old"))
    listed = await custom.list_namespaced_custom_object("example.dev", "v1", "default", "widgets")
    seen: list[tuple[str, str]] = []

    async def watching() -> None:
        async with watch.Watch() as stream:
            async for event in stream.stream(
                custom.list_namespaced_custom_object,
                "example.dev",
                "v1",
                "default",
                "widgets",
                resource_version=listed["metadata"]["resourceVersion"],
                timeout_seconds=10,
            ):
                seen.append((event["type"], event["object"]["metadata"]["name"]))
                if len(seen) == 3:
                    return

    task = asyncio.create_task(watching())
    await store.create(WIDGET, widget("new"))
    await store.patch(WIDGET, "default", "old", Patch("merge", {"spec": {"size": 5}}))
    await store.delete(WIDGET, "default", "new")
    await asyncio.wait_for(task, 20)
    assert seen == [("ADDED", "new"), ("MODIFIED", "old"), ("DELETED", "new")]


async def test_server_side_apply_through_a_typed_api(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)

    async def apply(manager: str, data: dict[str, str], *, force: bool = False) -> client.V1ConfigMap:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}
        return await core.patch_namespaced_config_map(
            "a",
            "default",
            body,
            field_manager=manager,
            force=force,
            _content_type="application/apply-patch+yaml",
        )

    await apply("one", {"x": "1", "mine": "1"})
    await apply("two", {"y": "2"})
    with pytest.raises(ApiException) as refused:
        await apply("two", {"y": "2", "x": "9"})
    forced = await apply("two", {"y": "2", "x": "9"}, force=True)
    removed = await apply("one", {})
    assert refused.value.status == 409
    assert ".data.x" in refused.value.body
    assert forced.data == {"x": "9", "y": "2", "mine": "1"}
    assert removed.data == {"x": "9", "y": "2"}


async def test_status_is_written_apart(api: client.ApiClient, store: Store) -> None:
    custom = client.CustomObjectsApi(api)
    await store.create(WIDGET, widget("a"))
    body = {"spec": {"size": 99}, "status": {"ready": True}}
    where = ("example.dev", "v1", "default", "widgets", "a")
    merge = "application/merge-patch+json"
    patched = await custom.patch_namespaced_custom_object_status(*where, body, _content_type=merge)
    assert (patched["spec"]["size"], patched["status"]) == (3, {"ready": True})
    patched = await custom.patch_namespaced_custom_object(
        *where, {"spec": {"size": 4}, "status": {"ready": False}}, _content_type=merge
    )
    assert (patched["spec"]["size"], patched["status"]) == (4, {"ready": True})
