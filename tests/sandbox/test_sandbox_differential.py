"""One table of requests, told to our API server on each of its storages and to kube-apiserver where there is one.

What must come back is written in the table, from Kubernetes' API conventions; the storages must answer alike, and
kube-apiserver as the table says but for the written differences.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio

from atoll.federation.bus.connection import Bus
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.bucket import HISTORY
from atoll.kubeapi.custom_resources import CustomResources
from atoll.kubeapi.http import create_app
from atoll.kubeapi.storage import MemoryStorage, Storage
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import registry
from real_kube import TOKEN, RealServer
from sandbox.differential import deletes, discovery, forms, patches, reads, updates, watches, writes
from sandbox.differential.asking import DIFFERENCES, Answer, Story, comparable, tell
from sandbox.differential.telescopes import DEFINITION

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORIES: Mapping[str, Story] = {
    **discovery.STORIES,
    **reads.STORIES,
    **writes.STORIES,
    **updates.STORIES,
    **patches.STORIES,
    **deletes.STORIES,
    **watches.STORIES,
    **forms.STORIES,
}
VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.1", "platform": "test"}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@contextlib.asynccontextmanager
async def served(storage: Storage, *, history: int = HISTORY) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the kinds of a simulated cluster and one custom resource, without any controller but that of the latter."""
    kinds = registry()
    store = Store(kinds, storage, require_namespaces=True, history=history)
    await store.start()
    task = asyncio.create_task(CustomResources(store).run())
    app = create_app(store, kinds, version=VERSION)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as http:
        await defined(http)
        yield http
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


async def defined(http: httpx.AsyncClient) -> None:
    """Make the custom resource of the stories and wait until it is served."""
    answer = await http.post(CRDS, json=DEFINITION)
    assert answer.status_code in (201, 409), answer.text
    async with asyncio.timeout(20):
        while (await http.get("/apis/sky.dev/v1/telescopes")).status_code != 200:
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def memory() -> AsyncIterator[httpx.AsyncClient]:
    """Give our API server on memory."""
    async with served(MemoryStorage()) as http:
        yield http


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jetstream(shared_nats_server: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give our API server on JetStream."""
    bus = await Bus.connect(shared_nats_server.url, name="differential")
    async with served(await JetStreamStorage.open(bus)) as http:
        yield http
    await bus.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(real_server: RealServer) -> AsyncIterator[httpx.AsyncClient]:
    """Give kube-apiserver."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=real_server.url, headers=headers, verify=False, timeout=60) as http:
        await defined(http)
        yield http


async def told(story: Story, http: httpx.AsyncClient) -> tuple[list[Answer], str]:
    """Tell a story in a new namespace."""
    namespace = f"d-{uuid.uuid4().hex[:8]}"
    made = await http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}})
    assert made.status_code == 201, made.text
    return await tell(story, http, namespace), namespace


def check_alike(ours: Sequence[Answer], theirs: Sequence[Answer], namespaces: tuple[str, str]) -> None:
    """Assert that two servers answered alike, but for the written differences and the wording of failures."""
    here, there = namespaces
    for one, other in zip(ours, theirs, strict=True):
        if one.ask.differs:
            continue
        other.check()
        both = one.fault.keys() & other.fault.keys()
        assert {key: one.fault[key] for key in both} == {key: other.fault[key] for key in both}, one.ask.request
        if not one.is_status:
            assert comparable(one.content, here) == comparable(other.content, there), one.ask.request


@pytest.mark.parametrize("name", STORIES)
async def test_our_answers_follow_the_conventions_on_every_storage(
    name: str, memory: httpx.AsyncClient, jetstream: httpx.AsyncClient
) -> None:
    (in_memory, here), (durable, there) = await asyncio.gather(
        told(STORIES[name], memory), told(STORIES[name], jetstream)
    )
    for answer in (*in_memory, *durable):
        answer.check()
    check_alike(in_memory, durable, (here, there))
    for one, other in zip(in_memory, durable, strict=True):
        assert comparable(one.content, here) == comparable(other.content, there), one.ask.request


@pytest.mark.real_kube
@pytest.mark.parametrize("name", STORIES)
async def test_kube_apiserver_answers_as_we_do_but_for_the_written_differences(
    name: str, memory: httpx.AsyncClient, real: httpx.AsyncClient
) -> None:
    (ours, here), (theirs, there) = await asyncio.gather(told(STORIES[name], memory), told(STORIES[name], real))
    check_alike(ours, theirs, (here, there))


async def test_what_is_forgotten_is_gone_and_the_answers_say_how_to_go_on() -> None:
    """A real API server forgets after minutes; ours, told to remember little, after a few changes."""
    async with served(MemoryStorage(), history=2) as http:
        answers, _ = await told(reads.FORGOTTEN, http)
    for answer in answers:
        answer.check()


async def test_every_written_difference_is_one_that_a_request_shows() -> None:
    shown = {ask.differs for story in STORIES.values() for ask in story}
    assert shown - {""} == set(DIFFERENCES)
