"""Commands in the pods of jobs: a WebSocket on a job's `exec` is carried to the agent of its cluster.

Owns the route and the carrying; what is typed and printed passes through and is kept nowhere. The WebSocket speaks
Kubernetes' remote command protocol, so that the clients of pods' `exec` can speak to a job.
"""

import asyncio
import secrets
from typing import Any

import orjson
import structlog
from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute

from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.command_messages import (
    OPENED,
    RESIZE,
    RESULT,
    STDIN,
    ExecInput,
    ExecRequest,
    pieces,
)
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import rpc_subject
from atoll.federation.errors import AtollError
from atoll.federation.errors import Unavailable as BusUnavailable
from atoll.federation.resources import API_GROUP, FINISHED_RUN_PHASES, Run
from atoll.hub.client import Client
from atoll.hub.http.placed import check_heard, goes_on, newest_run
from atoll.kubeapi.errors import BadRequest, Unavailable
from atoll.kubeapi.http.channels import Channels, ClientGone
from atoll.kubeapi.http.connecting import connect_routes
from atoll.kubeapi.http.target import Target, truth

log = structlog.get_logger(__name__)

# An API server that is slow to find a pod and a runtime that is slow to start a process need some seconds.
_OPEN_SECONDS = 20.0
_INPUT_SECONDS = 30.0
# How often it is looked whether the run still goes on and its cluster is still heard.
_LOOK_SECONDS = 15.0
_LONGEST_SECONDS = 24 * 3600.0


class Commands:
    """The `exec` subresource of jobs: kubeapi's Connector."""

    def __init__(self, client: Client, bus: Bus, capabilities: Capabilities) -> None:
        self._client, self._bus, self._capabilities = client, bus, capabilities

    def routes(self) -> list[BaseRoute]:
        """Give the routes, to go before the API's own."""
        rt = self._client.store.registry.by_kind(API_GROUP, "Job")
        assert rt is not None, "the registry of the hub serves jobs"
        return connect_routes(rt, "exec", self)

    async def connect(self, target: Target, query: QueryParams) -> "Session":
        """Find where the job runs. Raises NotFound, BadRequest or Unavailable."""
        command = tuple(query.getlist("command"))
        if not command or not command[0]:
            raise BadRequest("command: Required value: name the command to be run")
        run = await newest_run(self._client, target.namespace or "", target.name)
        if run.status.phase in FINISHED_RUN_PHASES:
            raise BadRequest(f"job {target.name!r} has ended ({run.status.phase}): its pods run no commands any more")
        await check_heard(self._client, run.spec.cluster, what="commands can be run")
        request = ExecRequest(
            namespace=run.metadata.namespace or "",
            run=run.metadata.name,
            command=command,
            pod=query.get("pod") or None,
            container=query.get("container") or None,
            has_stdin=bool(truth(query.get("stdin"))),
            has_terminal=bool(truth(query.get("tty"))),
            session=secrets.token_hex(16),
        )
        return Session(self._client, self._bus, run, request, token=self._capabilities.agent(run.spec.cluster))


class Session:
    """One command that is run for one client."""

    def __init__(self, client: Client, bus: Bus, run: Run, request: ExecRequest, *, token: str) -> None:
        self._client, self._bus, self._run, self._request = client, bus, run, request
        cluster = run.spec.cluster
        self._output, self._input = (rpc_subject(cluster, verb, token) for verb in ("exec", "exec-input"))
        self._opened = asyncio.Event()

    async def run(self, channels: Channels) -> dict[str, Any]:
        """Carry everything until the command has ended, or end it when the client is gone. Raises ClientGone."""
        typing = asyncio.create_task(self._type(channels), name="exec-input")
        printing = asyncio.create_task(self._print(channels), name="exec-output")
        watching = asyncio.create_task(self._watch(), name="exec-watch")
        tasks = (typing, printing, watching)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if printing.done():
                return printing.result()
            if watching.done():
                return watching.result()
            raise ClientGone
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _print(self, channels: Channels) -> dict[str, Any]:
        """Carry what the command prints, and give the Status that it came to. Raises ClientGone."""
        frames = self._bus.request_many(self._output, self._request.encode(), timeout_seconds=_LONGEST_SECONDS)
        try:
            async for frame in frames:
                channel, data = frame[0], frame[1:]
                if channel == OPENED:
                    self._opened.set()
                elif channel == RESULT:
                    return _status(data)
                else:
                    await channels.send(channel, data)
        except BusUnavailable:  # it names the subject, which holds the cluster's token: that is for nobody's eyes
            return self._failure("its agent does not answer")
        except AtollError as error:
            return self._failure(str(error))
        return self._failure("the connection to the container ended before the command did")

    async def _type(self, channels: Channels) -> None:
        """Carry what is typed, piece by piece, until the client is gone."""
        async for frame in channels.frames():
            if frame.channel not in (STDIN, RESIZE):
                continue
            await self._opened.wait()
            for piece in pieces(frame.data):
                await self._send(ExecInput(session=self._request.session, channel=frame.channel, data=piece))
            if frame.is_last:
                await self._send(ExecInput(session=self._request.session, channel=frame.channel, is_last=True))

    async def _send(self, given: ExecInput) -> None:
        try:
            await self._bus.request(self._input, given.encode(), timeout_seconds=_INPUT_SECONDS)
        except AtollError as error:  # the other direction tells what became of the command
            log.info("what was typed did not arrive", run=self._run.key, error=type(error).__name__)

    async def _watch(self) -> dict[str, Any]:
        """Return once there is nothing to wait for."""
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            return self._failure(f"the command did not start within {_OPEN_SECONDS:g} s")
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not await goes_on(self._client, self._run):
                return self._failure("the run has ended, or its cluster is not heard any more")

    def _failure(self, why: str) -> dict[str, Any]:
        where = f"run {self._run.metadata.name} on cluster {self._run.spec.cluster}"
        return Unavailable(f"{where}: {why}").status()


def _status(data: bytes) -> dict[str, Any]:
    try:
        status = orjson.loads(data)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict):
        return Unavailable("the API server told the command's end with something that is no Status").status()
    return status
