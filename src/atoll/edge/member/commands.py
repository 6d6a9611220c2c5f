"""Commands that people run in the containers of this cluster's runs: answers the hub's `exec` and `exec-input` calls.

Only pods of runs are ever looked for, by the labels of what the hub has ordered. What a command prints is passed on
and kept nowhere.
"""

import contextlib
from collections.abc import AsyncIterator

import structlog

from atoll.edge.member.errors import Refused
from atoll.edge.member.execution import Command, Remote
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Object, ObjectRef
from atoll.edge.member.run_pods import RunPods, container_of
from atoll.federation.bus.command_messages import GONE, OPENED, WRITTEN, ExecInput, ExecRequest, pieces
from atoll.federation.errors import NotFound

log = structlog.get_logger(__name__)

_NOT_ALLOWED = "commands in its pods are not allowed there: its agent runs without --job-exec, which takes pods/exec"


class Commands:
    """The commands that run for people at this moment."""

    def __init__(self, kube: Kube, pods: RunPods, *, is_allowed: bool) -> None:
        self._kube, self._pods, self._is_allowed = kube, pods, is_allowed
        self._open: dict[str, Remote] = {}

    async def serve(self, payload: bytes) -> AsyncIterator[bytes]:
        """Run a command and give its frames; when nobody reads any more, the API server ends it.

        Raises:
            NotFound: the run has no such pod, or none that runs. InvalidInput: it has no such container.
            Refused: nobody has allowed it here.
        """
        request = ExecRequest.decode(payload)
        if not self._is_allowed:
            raise Refused(_NOT_ALLOWED)
        pod = await self._pod(request)
        command = Command(
            container_of(pod, request.container), request.command, request.has_stdin, request.has_terminal
        )
        async with self._kube.running(ObjectRef.of(pod), command) as remote:
            log.info("a command runs in a pod", run=f"{request.namespace}/{request.run}", pod=pod["metadata"]["name"])
            self._open[request.session] = remote
            try:
                yield bytes((OPENED,))
                async for channel, data in remote.frames():
                    for piece in pieces(data) if data else (b"",):
                        yield bytes((channel,)) + piece
            finally:
                del self._open[request.session]

    async def type_in(self, payload: bytes) -> bytes:
        """Pass on what was typed; answers when the API server has taken it."""
        given = ExecInput.decode(payload)
        remote = self._open.get(given.session)
        if remote is None:
            return GONE
        with contextlib.suppress(ConnectionError):  # it ends at this moment, and its stream says so
            await (remote.end(given.channel) if given.is_last else remote.send(given.channel, given.data))
            return WRITTEN
        return GONE

    async def _pod(self, request: ExecRequest) -> Object:
        pods = await self._pods.of(request.namespace, request.run)
        named = [pod for pod in pods if request.pod in (None, pod["metadata"]["name"])]
        found = sorted((pod for pod in named if _runs(pod)), key=lambda pod: str(pod["metadata"]["name"]))
        if found:
            return found[0]
        if request.pod is not None and not named:
            names = ", ".join(sorted(pod["metadata"]["name"] for pod in pods)) or "none"
            raise NotFound(f"run {request.namespace}/{request.run} has no pod {request.pod}; its pods: {names}")
        raise NotFound(f"no pod of run {request.namespace}/{request.run} runs at this moment")


def _runs(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"])
