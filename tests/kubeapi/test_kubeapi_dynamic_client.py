"""The synchronous and the dynamic Kubernetes client work on the API server, and so do other tools' habits."""

import asyncio
from typing import Any

import pytest
from kubernetes import client, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError

from atoll.kubeapi.store import Store
from kubeapi.kinds import WIDGET, widget


@pytest.fixture
def api(server: str) -> Any:
    """A synchronous client of the server."""
    configuration = client.Configuration()
    configuration.host = server
    return client.ApiClient(configuration)


async def test_the_dynamic_client_discovers_kinds_and_uses_every_verb(api: Any, store: Store, tmp_path: Any) -> None:
    def use() -> list[Any]:
        found = dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))
        widgets = found.resources.get(api_version="example.dev/v1", kind="Widget")
        created = widgets.create(body=widget("one"), namespace="default")
        applied = widgets.server_side_apply(body=widget("one", size=3, code="abc"), field_manager="tool")
        merged = widgets.patch(
            body={"spec": {"size": 5}}, name="one", namespace="default", content_type="application/merge-patch+json"
        )
        listed = widgets.get(namespace="default", label_selector="!x")
        widgets.delete(name="one", namespace="default")
        with pytest.raises(NotFoundError):
            widgets.get(name="one", namespace="default")
        return [created.spec.size, applied.spec.code, merged.spec.size, [item.metadata.name for item in listed.items]]

    assert await asyncio.to_thread(use) == [3, "abc", 5, ["one"]]
    assert (await store.list(WIDGET)).items == []


async def test_a_conflict_of_the_dynamic_client_is_its_own_error(api: Any, tmp_path: Any) -> None:
    def use() -> str:
        found = dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))
        widgets = found.resources.get(api_version="example.dev/v1", kind="Widget")
        widgets.server_side_apply(body=widget("one", size=3), field_manager="one")
        with pytest.raises(ConflictError) as refused:
            widgets.server_side_apply(body=widget("one", size=4), field_manager="two")
        return str(refused.value.body)

    assert ".spec.size" in await asyncio.to_thread(use)


async def test_the_synchronous_watch_sees_pages_of_changes_and_ends(api: Any) -> None:
    def use() -> list[tuple[str, str]]:
        core = client.CoreV1Api(api)
        for name in ("a", "b"):
            core.create_namespaced_config_map("default", {"metadata": {"name": name}})
        stream = watch.Watch().stream(core.list_namespaced_config_map, "default", timeout_seconds=1)
        return [(event["type"], event["object"].metadata.name) for event in stream]

    assert await asyncio.to_thread(use) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_refusal_of_the_typed_client_carries_the_causes(api: Any) -> None:
    def use() -> str:
        core = client.CoreV1Api(api)
        with pytest.raises(ApiException) as refused:
            core.create_namespaced_config_map("default", {"metadata": {"name": "Not Valid"}})
        return str(refused.value.body)

    body = await asyncio.to_thread(use)
    assert '"field":"metadata.name"' in body
