"""What if, over HTTP: the live state with one change, decided about by the scheduler's own code. Nothing is written.

    POST …/namespaces/NS/jobs/NAME/whatif     body: a Job      what submitting it now would come to
    POST …/clusters/NAME/whatif               body: {"drain": {"evict": "ByPolicy" | "All"}}
    POST …/queues/NAME/whatif                 body: {"spec": {…}}, a merge patch (RFC 7386) of the queue's spec

Owns the routes, their bodies, and how much work may be asked for: one replay at a time, in a thread, and none of more
jobs than are replayed within seconds. What a change means stands in hub/whatif.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.federation.errors import InvalidInput
from atoll.federation.errors import NotFound as NothingThere
from atoll.federation.resources import API_GROUP, API_VERSION, Job
from atoll.hub import whatif
from atoll.hub.client import Client
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.kubeapi.errors import BadRequest, Cause, Invalid, NotFound, Subject, TooManyRequests
from atoll.kubeapi.http.access import Access, Action
from atoll.kubeapi.http.answers import value_answer
from atoll.kubeapi.http.negotiation import Form, read_body, received
from atoll.kubeapi.http.target import Target
from atoll.kubeapi.resource import Object

_BASE = f"/apis/{API_GROUP}/{API_VERSION}"
# Two cycles from cold take seconds with as many; with more, the hub has better to do than to answer questions.
MOST_JOBS = 100_000
# Who comes when so many wait already would wait for longer than a person does.
_MOST_WAITING = 4
_RETRY_AFTER_SECONDS = 5
Answer = dict[str, Any]


class WhatIf:
    """Answers what would happen.

    Args:
        client: the hub's objects.
        access: who may submit what, where.
        look: gives everything as the scheduler sees it.
        most_jobs: replays of more unfinished jobs are refused.
    """

    def __init__(
        self,
        client: Client,
        access: Access,
        *,
        look: Callable[[], Awaitable[Snapshot]],
        most_jobs: int = MOST_JOBS,
    ) -> None:
        self._client, self._access, self._look = client, access, look
        self._most_jobs = most_jobs
        self._turn, self._waiting = asyncio.Lock(), 0

    def routes(self) -> list[Route]:
        """Give the routes, to go before the API's own."""
        return [
            Route(f"{_BASE}/namespaces/{{namespace}}/jobs/{{name}}/whatif", self.job, methods=["POST"]),
            Route(f"{_BASE}/clusters/{{name}}/whatif", self.drain, methods=["POST"]),
            Route(f"{_BASE}/queues/{{name}}/whatif", self.queue, methods=["POST"]),
        ]

    async def job(self, request: Request) -> Response:
        """Tell what submitting a job now would come to."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        job = await self._admitted(request, await _body(request), namespace)
        return await self._replay(lambda snapshot: whatif.job(snapshot, job), name)

    async def _admitted(self, request: Request, body: Mapping[str, Any], namespace: str) -> Job:
        """Have a job admitted as if whoever asks submitted it. Raises what submitting it would."""
        user, rt = request.state.user, self._client.type_of(Job)
        action = Action("create", request.url.path, Target(rt.group, rt.version, rt.plural, namespace))

        def admit(new: Object, old: Object | None) -> None:
            self._access.admit(user, action, new, old)

        stored = await self._client.store.create(
            rt, {**body, "kind": rt.kind}, namespace=namespace, dry_run=True, admit=admit
        )
        return Job.model_validate(stored)

    async def drain(self, request: Request) -> Response:
        """Tell what a drain of a cluster would come to."""
        name, evict = request.path_params["name"], read_drain(await _body(request))
        return await self._replay(lambda snapshot: whatif.drain(snapshot, name, evict), name)

    async def queue(self, request: Request) -> Response:
        """Tell what another grant to a queue would come to."""
        name, change = request.path_params["name"], read_change(await _body(request))
        return await self._replay(lambda snapshot: whatif.queue(snapshot, name, change), name)

    async def _replay(self, work: Callable[[Snapshot], Answer], name: str) -> Response:
        if self._waiting >= _MOST_WAITING:
            message = f"{self._waiting} questions of this sort are being answered: ask again in a moment"
            raise TooManyRequests(message, retry_after_seconds=_RETRY_AFTER_SECONDS)
        self._waiting += 1
        try:
            async with self._turn:
                snapshot = await self._look()
                self._check_size(snapshot)
                # In a thread, since leadership must be renewed meanwhile; the snapshot is frozen.
                return value_answer(await asyncio.to_thread(work, snapshot), Form())
        except NothingThere as error:
            raise NotFound(str(error)) from error
        except InvalidInput as error:
            causes = [Cause("", str(problem)) for problem in error.problems]
            raise Invalid(str(error), causes=causes, subject=Subject(API_GROUP, "", name)) from error
        finally:
            self._waiting -= 1

    def _check_size(self, snapshot: Snapshot) -> None:
        if len(snapshot.jobs) > self._most_jobs:
            message = f"{len(snapshot.jobs)} jobs wait or run, and at most {self._most_jobs} are replayed"
            raise TooManyRequests(f"{message}: the answer would take the hub from its work; ask when fewer are left")


async def _body(request: Request) -> Mapping[str, Any]:
    body = read_body(await received(request), request.headers.get("content-type", ""))
    if not isinstance(body, Mapping):
        raise BadRequest("the body must be a map")
    return body


def read_drain(body: Mapping[str, Any]) -> whatif.Evict:
    """Read how a cluster would be drained. Pure.

    Raises:
        BadRequest: the body says something else.
    """
    drain = body.get("drain")
    evict: object = drain.get("evict", "ByPolicy") if isinstance(drain, Mapping) else None
    match evict:
        case "ByPolicy":
            return "ByPolicy"
        case "All":
            return "All"
    raise BadRequest('drain: must be {} or {"evict": "ByPolicy" | "All"}')


def read_change(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read how a queue's spec would be changed. Pure.

    Raises:
        BadRequest: the body says nothing of a spec.
    """
    change = body.get("spec")
    if not isinstance(change, Mapping) or not change:
        raise BadRequest('spec: must be what would change in the queue, such as {"quota": {"limit": {"gpus": 8}}}')
    return change
