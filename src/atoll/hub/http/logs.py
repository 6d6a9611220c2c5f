"""Job logs over HTTP: a GET on a job's `log` streams what the agent of its cluster reads from the pod.

Owns the route; the lines come from the agent as they are.
"""

import asyncio
from collections.abc import AsyncIterator

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import LogsRequest
from atoll.federation.bus.subjects import rpc_subject
from atoll.federation.capacity import format_duration
from atoll.federation.errors import AtollError
from atoll.federation.errors import Unavailable as BusUnavailable
from atoll.federation.resources import API_GROUP, API_VERSION, FINISHED_RUN_PHASES, Cluster, Job, Run
from atoll.hub.client import Client
from atoll.kubeapi.errors import BadRequest, NotFound, Unavailable

log = structlog.get_logger(__name__)

# The first chunk tells whether an agent answers at all; a slow API server behind it needs a few seconds.
_FIRST_CHUNK_SECONDS = 10.0
# How often a quiet log is looked at: does the run still go on, is its cluster still heard?
_QUIET_SECONDS = 15.0
_LONGEST_SECONDS = 24 * 3600.0


class Logs:
    """Answers requests for logs."""

    def __init__(self, client: Client, bus: Bus, capabilities: Capabilities) -> None:
        self._client, self._bus, self._capabilities = client, bus, capabilities

    def routes(self) -> list[Route]:
        """Give the route."""
        path = f"/apis/{API_GROUP}/{API_VERSION}/namespaces/{{namespace}}/jobs/{{name}}/log"
        return [Route(path, self.read, methods=["GET"])]

    async def read(self, request: Request) -> Response:
        """Stream a job's log; `follow=true` goes on until the run is over, `tailLines=N` begins near the end."""
        run = await self._run(request.path_params["namespace"], request.path_params["name"])
        await self._check_heard(run.spec.cluster)
        question = LogsRequest(
            namespace=run.metadata.namespace or "",
            run=run.metadata.name,
            follow=request.query_params.get("follow", "") in ("1", "true"),
            tail_lines=_count(request, "tailLines"),
        )
        subject = rpc_subject(run.spec.cluster, "logs", self._capabilities.agent(run.spec.cluster))
        chunks = self._bus.request_many(subject, question.encode(), timeout_seconds=_LONGEST_SECONDS)
        upcoming = asyncio.ensure_future(anext(chunks, None))
        await self._begun(upcoming, run)
        return StreamingResponse(self._stream(upcoming, chunks, run), media_type="text/plain; charset=utf-8")

    async def _run(self, namespace: str, name: str) -> Run:
        job = await self._client.get(Job, namespace, name)
        if job is None:
            raise NotFound.of(API_GROUP, "jobs", name)
        runs = [run for run in await self._client.list(Run, namespace) if run.spec.job == name]
        if not runs:
            why = f": {job.status.message}" if job.status.message else ""
            raise BadRequest(f"job {name!r} has no run yet, so there is no log: it is {job.status.phase}{why}")
        return max(runs, key=lambda run: run.spec.epoch)

    async def _check_heard(self, name: str) -> None:
        """Say of a cluster that is not heard that it is not, rather than wait for its agent."""
        cluster = await self._client.get(Cluster, None, name)
        since = cluster.status.silent_since if cluster is not None else None
        if since is not None:
            silence = format_duration(max(0, int((self._client.store.clock() - since).total_seconds())))
            message = f"cluster {name} has not been heard for {silence}: its logs can be read when it is heard again"
            raise Unavailable(message, retry_after_seconds=5)

    async def _begun(self, upcoming: "asyncio.Future[bytes | None]", run: Run) -> None:
        """Wait for the first chunk, so that failures become a status code; a pod that is silent so far is none."""
        await asyncio.wait({upcoming}, timeout=_FIRST_CHUNK_SECONDS)
        if upcoming.done() and (error := upcoming.exception()) is not None:
            # A bus that carries nothing names the subject, which holds the cluster's token: that is for nobody's eyes.
            why = "it does not answer" if isinstance(error, BusUnavailable) else str(error)
            message = f"the agent of cluster {run.spec.cluster!r} gives no log of run {run.metadata.name!r}: {why}"
            raise Unavailable(message, retry_after_seconds=5) from error

    async def _stream(
        self, upcoming: "asyncio.Future[bytes | None]", chunks: AsyncIterator[bytes], run: Run
    ) -> AsyncIterator[bytes]:
        try:
            while True:
                done, _ = await asyncio.wait({upcoming}, timeout=_QUIET_SECONDS)
                if not done and not await self._goes_on(run):
                    return
                if not done:
                    continue
                chunk = upcoming.result()
                if chunk is None:
                    return
                yield chunk
                upcoming = asyncio.ensure_future(anext(chunks, None))
        except AtollError as error:
            log.info("a log ended early", run=run.key, error=type(error).__name__)
        finally:
            upcoming.cancel()
            await asyncio.wait({upcoming})

    async def _goes_on(self, run: Run) -> bool:
        """Tell whether more may come: the run is not over and its cluster is heard."""
        current = await self._client.get(Run, run.metadata.namespace, run.metadata.name)
        cluster = await self._client.get(Cluster, None, run.spec.cluster)
        is_over = current is None or current.status.phase in FINISHED_RUN_PHASES
        return not is_over and cluster is not None and not cluster.status.is_silent


def _count(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise BadRequest(f"{name}: Invalid value: {text!r}: must be a whole number, 0 or more")
    return int(text)
