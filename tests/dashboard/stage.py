"""A federation in memory with its API and its dashboard, served on loopback, and three people who sign in.

Everything but the storage is the real thing: routes, guard, roles, admission. No controller runs, so nothing changes
but what a test changes.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from benchmarks.dashboard.synthetic import World, federation, obj
from starlette.requests import Request

from atoll.hub.access.authorizer import RoleAuthorizer
from atoll.hub.access.grants import Grants
from atoll.hub.access.submitters import QueueSubmitters, SubmitterStamp
from atoll.hub.http.server import listen, serving, url_of
from atoll.kubeapi.http.access import Access, Mutation, Outcome, User

T = TypeVar("T")
TOKENS = {"token-of-ada": "ada", "token-of-vic": "vic", "token-of-olga": "olga"}
"""Admin; Viewer; Submitter in the namespace optics."""
_BINDINGS = {
    "ada": {"role": "Admin"},
    "vic": {"role": "Viewer"},
    "olga": {"role": "Submitter", "namespaces": ["optics"]},
}


class ByToken:
    """Knows people by their tokens; `revoked` ones no more."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    async def authenticate(self, request: Request) -> User | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return User(TOKENS[token]) if token in TOKENS and token not in self.revoked else None


class Remembered:
    """An auditor that keeps what it is told."""

    def __init__(self) -> None:
        self.ends: list[tuple[Mutation, Outcome]] = []

    async def begin(self, mutation: Mutation) -> None:
        """Nothing to do: only ends are looked at."""

    async def end(self, mutation: Mutation, outcome: Outcome) -> None:
        self.ends.append((mutation, outcome))


class Stage:
    """A served federation. `people` is None where everybody is let in."""

    def __init__(self, *, signs_in: bool, clusters: int = 6, jobs: int = 80) -> None:
        self.world, self.people, self.audit = World(), ByToken(), Remembered()
        self._signs_in, self._size = signs_in, (clusters, jobs)
        self.url = ""

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator["Stage"]:
        """Serve it during the context."""
        if self._signs_in:
            authorizer = RoleAuthorizer(Grants(self.world.store), QueueSubmitters(self.world.store))
            self.world.access = Access(self.people, authorizer, authorizer, self.audit, stamp=SubmitterStamp())
            for name, spec in _BINDINGS.items():
                await self.world.put(
                    obj("RoleBinding", name, {**spec, "subjects": [{"kind": "User", "name": name}]}, {})
                )
        for made in federation(*self._size, datetime.now(UTC)):
            await self.world.put(made)
        await self.world.start()
        listener = listen("127.0.0.1", 0)
        self.url = url_of(listener, scheme="http")
        async with serving(self.world.dashboard.app, listener):
            work = asyncio.create_task(self.world.dashboard.run())
            yield self
            work.cancel()
            await asyncio.wait({work})
        await self.world.store.close()

    async def change(self, made: Mapping[str, Any]) -> None:
        """Store one object as it is."""
        await self.world.put(made)


class Apart:
    """A loop in a thread of its own, for what lives longer than one test: a browser, a server."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="stage")
        self._thread.start()

    def run(self, work: Awaitable[T]) -> T:
        """Do something there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(_awaited(work), self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


@contextlib.contextmanager
def entered(apart: Apart, make: Callable[[], "contextlib.AbstractAsyncContextManager[T]"]) -> Iterator[T]:
    """Enter an asynchronous context in the other loop, in one task from begin to end."""
    begun: list[T] = []
    ready, over = threading.Event(), asyncio.Event()

    async def hold() -> None:
        try:
            async with make() as found:
                begun.append(found)
                ready.set()
                await over.wait()
        finally:
            ready.set()

    task = asyncio.run_coroutine_threadsafe(hold(), apart.loop)
    assert ready.wait(60)
    if not begun:
        task.result(5)
    yield begun[0]
    apart.loop.call_soon_threadsafe(over.set)
    task.result(30)
