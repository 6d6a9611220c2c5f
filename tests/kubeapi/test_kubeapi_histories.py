"""Whatever is written, by whomever: a list and the events after it are the list of every later version.

Several clients write through two stores on one storage, in every interleaving that Hypothesis thinks of.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

from atoll.kubeapi.errors import ApiError
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import Change, MemoryStorage, Synced
from atoll.kubeapi.store import Store
from kubeapi.kinds import WIDGET, make_registry, widget

Json = dict[str, Any]
Key = tuple[str, str]
HOLD = "example.dev/hold"
SCOPES = ((None, ""), ("x", ""), (None, "tier=front"), ("y", "!tier"), (None, "tier in (front,back)"))


@dataclass(frozen=True)
class Step:
    """One thing that a client does: to which object, with which number, through which of the stores."""

    verb: str
    name: str
    namespace: str
    number: int
    store: int

    async def run(self, stores: Sequence[Store]) -> None:
        """Do it; that it is refused is fine."""
        store, place = stores[self.store], (self.namespace, self.name)
        tier = {"tier": ("front", "back", None)[self.number % 3]}
        try:
            match self.verb:
                case "create":
                    made = widget(self.name, namespace=self.namespace, size=self.number)
                    made["metadata"]["labels"] = {key: value for key, value in tier.items() if value}
                    await store.create(WIDGET, made)
                case "update":
                    found = await store.get(WIDGET, *place)
                    await asyncio.sleep(0)
                    await store.update(WIDGET, {**found, "spec": {**found["spec"], "size": self.number}})
                case "patch":
                    await store.patch(WIDGET, *place, Patch("merge", {"spec": {"size": self.number}}))
                case "label":
                    await store.patch(WIDGET, *place, Patch("merge", {"metadata": {"labels": tier}}))
                case "apply":
                    config = Patch("apply", widget(self.name, namespace=self.namespace, size=self.number))
                    await store.patch(WIDGET, *place, config, field_manager=f"m{self.number}", force=True)
                case "hold":
                    await store.patch(
                        WIDGET, *place, Patch("merge", {"metadata": {"finalizers": ["example.dev/hold"]}})
                    )
                case "release":
                    await store.patch(WIDGET, *place, Patch("merge", {"metadata": {"finalizers": None}}))
                case "delete":
                    await store.delete(WIDGET, *place)
        except ApiError:
            return


VERBS = ("create", "create", "update", "patch", "label", "label", "apply", "hold", "release", "delete", "look")
STEPS = st.builds(
    Step,
    st.sampled_from(VERBS),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["x", "y"]),
    st.integers(1, 6),
    st.integers(0, 1),
)
CLIENTS = st.lists(st.lists(STEPS, max_size=15), min_size=1, max_size=3)


class SlowStorage:
    """The view of a replica that hears of each change a little later."""

    def __init__(self, memory: MemoryStorage) -> None:
        self._memory = memory
        self.write, self.revision = memory.write, memory.revision

    async def follow(self) -> AsyncIterator[Change | Synced]:
        async for item in self._memory.follow():
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            yield item


@dataclass
class Observer:
    """A list, and what a watch shows after it."""

    store: Store
    namespace: str | None
    selector: str
    version: str = ""
    listed: dict[Key, Json] = field(default_factory=dict)
    events: list[tuple[str, Json]] = field(default_factory=list)

    async def list(self, **at: Any) -> tuple[str, dict[Key, Json]]:
        found = await self.store.list(WIDGET, self.namespace, label_selector=self.selector, **at)
        return found.resource_version, {_key(item): item for item in found.items}

    async def run(self) -> None:
        """Watch until the store closes."""
        async for event in self.store.watch(
            WIDGET, self.namespace, label_selector=self.selector, resource_version=self.version
        ):
            self.events.append((event.type, event.object))

    async def check(self) -> None:
        """Replay the events on the list: at each version the result is the list of that version."""
        state, last = dict(self.listed), int(self.version)
        for kind, obj in self.events:
            version = int(obj["metadata"]["resourceVersion"])
            assert version > last, "events come in the order of their versions"
            assert (kind == "ADDED") is (_key(obj) not in state)
            if kind == "DELETED":
                del state[_key(obj)]
            else:
                state[_key(obj)] = obj
            _, expected = await self.list(resource_version=str(version), resource_version_match="Exact")
            assert state == expected
            last = version
        assert state == (await self.list())[1]


def _key(obj: Json) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


async def observed(store: Store, scope: tuple[str | None, str]) -> Observer:
    """List, and be ready to watch from there."""
    observer = Observer(store, *scope)
    observer.version, observer.listed = await observer.list()
    return observer


@settings(max_examples=250, deadline=None, print_blob=True)
@given(CLIENTS)
def test_a_list_and_the_events_after_it_are_the_list_of_every_later_version(clients: list[list[Step]]) -> None:
    for number, steps in enumerate(clients):
        note(f"client {number}: {[(step.verb, step.namespace, step.name, step.number, step.store) for step in steps]}")

    async def scenario() -> None:
        memory = MemoryStorage()
        stores = Store(make_registry(), memory), Store(make_registry(), SlowStorage(memory))
        for store in stores:
            await store.start()
        observers = [await observed(store, scope) for store in stores for scope in SCOPES]
        tasks = [asyncio.create_task(observer.run()) for observer in observers]

        async def client(steps: list[Step]) -> None:
            for step in steps:
                if step.verb == "look":  # a list at one replica, and the watch after it at the other
                    observer = await observed(stores[step.store], SCOPES[step.number % len(SCOPES)])
                    observer.store = stores[1 - step.store]
                    observers.append(observer)
                    tasks.append(asyncio.create_task(observer.run()))
                await step.run(stores)

        await asyncio.gather(*(client(steps) for steps in clients))
        revision = await memory.revision()
        for store in stores:
            await store.list(WIDGET, resource_version=str(revision))
        for _ in range(5):
            await asyncio.sleep(0)
        for observer in observers:
            await observer.check()
        for store in stores:
            await store.close()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
