"""Clients of other people, kr8s and lightkube, work on a hub and on a cluster through a kubeconfig file."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import kr8s
import lightkube
import pytest
from kr8s.asyncio import objects as kr8s_objects
from lightkube import generic_resource
from lightkube.core.exceptions import ApiError, ConditionError
from lightkube.types import PatchType

from kubeapi.targets import Target
from kubeapi.things import WORK, Json
from kubeapi.told import Told
from sandbox.worlds import Kubectl

# kr8s warns of every Kubernetes that is newer than itself.
pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning")


@contextlib.asynccontextmanager
async def kr8s_api(kubectl: Kubectl) -> AsyncIterator[Any]:
    """A client of kr8s; it has no way of its own to close its connections."""
    api = await kr8s.asyncio.api(kubeconfig=str(kubectl.kubeconfig), namespace=kubectl.namespace)
    try:
        yield api
    finally:
        await api._session.aclose()


def kr8s_class(api_version: str, kind: str, plural: str) -> Any:
    return kr8s_objects.new_class(kind=kind, version=api_version, namespaced=True, plural=plural)


async def test_kr8s_creates_reads_patches_labels_watches_and_deletes(told: Told) -> None:
    async with kr8s_api(told.kubectl) as api:
        things = kr8s_class(told.thing.api_version, told.thing.kind, told.thing.place[2])
        _, second, third = told.thing.change.values
        thing = await things(told.thing.manifest("a", namespace=told.kubectl.namespace), api=api)
        await thing.create()
        await thing.patch(told.thing.change.patch(second))
        assert thing.spec[told.thing.change.path[-1]] == second
        steps = [{"op": "replace", "path": "/" + "/".join(told.thing.change.path), "value": third}]
        await thing.patch(steps, type="json")
        await thing.label({"tier": "front"})
        await thing.annotate({"sky.dev/note": "x"})
        found = [each async for each in api.get(told.thing.resource, label_selector={"tier": "front"})]
        assert [each.name for each in found] == ["a"]
        assert found[0].spec[told.thing.change.path[-1]] == third
        watching = api.watch(told.thing.resource, namespace=told.kubectl.namespace)
        event, seen = await anext(watching)
        assert (event, seen.name) == ("ADDED", "a")
        await thing.delete()
        async for event, _seen in watching:
            if event == "DELETED":
                break
        await watching.aclose()
        assert seen.name == "a"
        assert not await thing.exists()


async def test_kr8s_sets_owners_and_waits_for_work(target: Target, room: Kubectl) -> None:
    work = WORK[target.name]
    async with kr8s_api(room) as api:
        jobs = kr8s_class(work.manifest["apiVersion"], work.manifest["kind"], "jobs")
        manifest = {**work.manifest, "metadata": {"name": "work", "namespace": room.namespace}}
        job = await jobs(manifest, api=api)
        await job.create()
        while "status" not in job.raw:  # kr8s takes for granted that there is one
            await asyncio.sleep(0.02)
            await job.refresh()
        await job.wait(f"condition={work.condition}", timeout=30)
        assert [each.name async for each in api.get(work.resource)] == ["work"]
        await job.delete()
        await job.wait("delete", timeout=30)
        assert not await job.exists()


@pytest.fixture
def generic(told: Told) -> Any:
    """The kind as a resource of lightkube."""
    group, version, plural = told.thing.place
    return generic_resource.create_namespaced_resource(group, version, told.thing.kind, plural)


def lightkube_config(kubectl: Kubectl) -> Json:
    return {
        "config": lightkube.KubeConfig.from_file(str(kubectl.kubeconfig)),
        "namespace": kubectl.namespace,
        "field_manager": "lightkube",
    }


@pytest.fixture
def light(told: Told) -> Iterator[Any]:
    """A synchronous client of lightkube."""
    with lightkube.Client(**lightkube_config(told.kubectl)) as client:
        yield client


@pytest.fixture
async def alight(told: Told) -> AsyncIterator[Any]:
    """An asynchronous client of lightkube."""
    async with lightkube.AsyncClient(**lightkube_config(told.kubectl)) as client:
        yield client


def test_lightkube_uses_every_verb(told: Told, generic: Any, light: Any) -> None:
    first, second, third = told.thing.change.values
    field = told.thing.change.path[-1]
    made = light.create(generic(**_parts(told.thing.manifest("a", labels={"tier": "front"}))))
    assert made.spec[field] == first
    told.settle("a")
    newest = light.get(generic, "a")
    newest.spec[field] = second
    assert light.replace(newest).spec[field] == second
    patched = light.patch(generic, "a", told.thing.change.patch(third), patch_type=PatchType.MERGE)
    assert patched.spec[field] == third
    steps = [{"op": "replace", "path": "/" + "/".join(told.thing.change.path), "value": first}]
    assert light.patch(generic, "a", steps, patch_type=PatchType.JSON).spec[field] == first
    if told.thing.strategic:
        light.patch(generic, "a", told.thing.strategic, patch_type=PatchType.STRATEGIC)
        assert told("get", "a", "-o", f"jsonpath={told.thing.shared.jsonpath}") == told.thing.shared.both
    for name in "bcd":
        light.create(generic(**_parts(told.thing.manifest(name))))
    assert [each.metadata.name for each in light.list(generic, chunk_size=2)] == list("abcd")
    assert [each.metadata.name for each in light.list(generic, labels={"tier": ["front"]})] == ["a"]
    light.delete(generic, "a")
    light.deletecollection(generic)
    with pytest.raises(ApiError) as gone:
        light.get(generic, "a")
    assert (gone.value.status.code, gone.value.status.reason) == (404, "NotFound")
    assert list(light.list(generic)) == []


def test_lightkube_applies_with_conflicts_and_force(told: Told, generic: Any, light: Any) -> None:
    light.apply(generic(**_parts(told.thing.changed("a", 0))))
    other = generic(**_parts(told.thing.changed("a", 1)))
    with pytest.raises(ApiError) as refused:
        light.apply(other, field_manager="other")
    assert (refused.value.status.code, refused.value.status.reason) == (409, "Conflict")
    assert "." + ".".join(told.thing.change.path) in refused.value.status.message
    assert (
        light.apply(other, field_manager="other", force=True).spec[told.thing.change.path[-1]]
        == (told.thing.change.values[1])
    )


async def test_lightkube_watches_asynchronously(told: Told, generic: Any, alight: Any) -> None:
    await alight.create(generic(**_parts(told.thing.manifest("a"))))
    watching = alight.watch(generic)
    assert [(kind, obj.metadata.name) for kind, obj in [await anext(watching)]] == [("ADDED", "a")]
    await alight.patch(generic, "a", told.thing.change.patch(told.thing.change.values[1]), patch_type=PatchType.MERGE)
    await alight.delete(generic, "a")
    seen = []
    async for kind, obj in watching:
        seen.append((kind, obj.spec[told.thing.change.path[-1]]))
        if kind == "DELETED":
            break
    await watching.aclose()
    assert [value for kind, value in seen if kind == "MODIFIED"][-1:] == [told.thing.change.values[1]]


async def test_lightkube_waits_for_work(target: Target, room: Kubectl) -> None:
    work = WORK[target.name]
    group, _, version = work.manifest["apiVersion"].partition("/")
    jobs = generic_resource.create_namespaced_resource(group, version, "Job", "jobs")
    async with lightkube.AsyncClient(**lightkube_config(room)) as client:
        await client.create(jobs(**_parts(work.manifest)))
        done = await client.wait(jobs, "work", for_conditions=[work.condition])
        assert done.metadata.name == "work"
        with pytest.raises(ConditionError):
            await client.wait(jobs, "work", for_conditions=["Never"], raise_for_conditions=[work.condition])


def _parts(manifest: Json) -> Json:
    """Give the fields of a generic resource: its metadata is typed, the rest is not."""
    return {name: manifest[name] for name in ("metadata", "spec")}
