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
from atoll.federation.errors import AtollError
from atoll.federation.errors import Unavailable as BusUnavailable
from atoll.federation.resources import API_GROUP, API_VERSION, FINISHED_RUN_PHASES, Run
from atoll.hub.client import Client
from atoll.hub.http.placed import check_heard, goes_on, newest_run, run_of_attempt, run_of_task
from atoll.kubeapi.errors import BadRequest, Unavailable

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
        """Stream a job's log; `follow=true` goes on until the run is over, `tailLines=N` begins near the end.

        `sinceSeconds=N` leaves out what is older. `task=N` is for arrays: the log of that task, from the newest run
        that it is part of. `attempt=N` names another run than the newest. `prefix=true` has each line say of which task
        or pod it is.
        """
        run, task = await self._run(request), _count(request, "task")
        await check_heard(self._client, run.spec.cluster, what="its logs can be read")
        question = LogsRequest(
            namespace=run.metadata.namespace or "",
            run=run.metadata.name,
            follow=_is_set(request, "follow"),
            tail_lines=_count(request, "tailLines"),
            task=task,
            since_seconds=_count(request, "sinceSeconds") or None,
            with_prefix=True if _is_set(request, "prefix") else None,
        )
        subject = rpc_subject(run.spec.cluster, "logs", self._capabilities.agent(run.spec.cluster))
        chunks = self._bus.request_many(subject, question.encode(), timeout_seconds=_LONGEST_SECONDS)
        upcoming = asyncio.ensure_future(anext(chunks, None))
        await self._begun(upcoming, run)
        return StreamingResponse(self._stream(upcoming, chunks, run), media_type="text/plain; charset=utf-8")

    async def _run(self, request: Request) -> Run:
        """Find the run that is meant."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        task, attempt = _count(request, "task"), _count(request, "attempt")
        if attempt is not None:
            return await run_of_attempt(self._client, namespace, name, attempt)
        if task is not None:
            return await run_of_task(self._client, namespace, name, task)
        return await newest_run(self._client, namespace, name)

    async def _begun(self, upcoming: "asyncio.Future[bytes | None]", run: Run) -> None:
        """Wait for the first chunk, so that failures become a status code; a pod that is silent so far is none."""
        await asyncio.wait({upcoming}, timeout=_FIRST_CHUNK_SECONDS)
        if upcoming.done() and (error := upcoming.exception()) is not None:
            # A bus that carries nothing names the subject, which holds the cluster's token: that is for nobody's eyes.
            why = "it does not answer" if isinstance(error, BusUnavailable) else str(error)
            message = f"the agent of cluster {run.spec.cluster!r} gives no log of run {run.metadata.name!r}: {why}"
            if run.status.phase in FINISHED_RUN_PHASES and not isinstance(error, BusUnavailable):
                raise BadRequest(f"{message}; {no_more_of(run)}") from error
            raise Unavailable(message, retry_after_seconds=5) from error

    async def _stream(
        self, upcoming: "asyncio.Future[bytes | None]", chunks: AsyncIterator[bytes], run: Run
    ) -> AsyncIterator[bytes]:
        try:
            while True:
                done, _ = await asyncio.wait({upcoming}, timeout=_QUIET_SECONDS)
                if not done and not await goes_on(self._client, run):
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


def no_more_of(run: Run) -> str:
    """Say why nothing can be read of a run that is over and has no pods. Pure."""
    how = run.status.reason or run.status.phase
    if run.status.started_at is None:
        return f"it has ended ({how}) before it printed anything"
    return f"it has ended ({how}), its pods are gone, and of what they printed nothing was kept"


def _is_set(request: Request, name: str) -> bool:
    return request.query_params.get(name, "") in ("1", "true")


def _count(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise BadRequest(f"{name}: Invalid value: {text!r}: must be a whole number, 0 or more")
    return int(text)
