"""Logs of runs: answers the hub's `logs` calls by streaming the containers' output. It keeps nothing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Object, ObjectRef, Selection, condition
from atoll.edge.member.workload import JOB, JOB_NAME_LABEL, POD
from atoll.federation.bus.messages import LogsRequest
from atoll.federation.errors import NotFound

_WAIT_SECONDS = 0.5
_ENDS = ("Complete", "Failed")
# kubectl's: which container's log is meant when none is named.
_DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"


class Logs:
    """Reads the logs of one cluster's runs."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def serve(self, payload: bytes) -> AsyncIterator[bytes]:
        """Give the log of a run's pods, oldest pod first; with `follow` wait for them to start and to end.

        Raises:
            NotFound: the run has no pod, and following was not asked for.
        """
        request = LogsRequest.decode(payload)
        seen: set[str] = set()
        while True:
            # Asked before the pods are listed: a Job that has ended makes no pod after those that are listed then.
            has_ended = not request.follow or await self._has_ended(request, has_begun=bool(seen))
            for pod in await self._pods(request):
                if pod["metadata"]["uid"] not in seen and _has_started(pod):
                    seen.add(pod["metadata"]["uid"])
                    async with contextlib.aclosing(self._open(pod, request)) as chunks:
                        async for chunk in chunks:
                            yield chunk
            if has_ended:
                break
            await asyncio.sleep(_WAIT_SECONDS)
        if not seen:
            raise NotFound(f"run {request.namespace}/{request.run} has no pod that has started: try again, or follow")

    def _open(self, pod: Object, request: LogsRequest) -> AsyncGenerator[bytes, None]:
        container = _container_of(pod)
        return self._kube.logs(
            ObjectRef.of(pod), container=container, follow=request.follow, tail_lines=request.tail_lines
        )

    async def _has_ended(self, request: LogsRequest, *, has_begun: bool) -> bool:
        """Whether the Job will make no more pods: it has finished, or was there and is gone."""
        job = await self._kube.get(ObjectRef(JOB, request.namespace, request.run))
        return has_begun if job is None else any(condition(job, how).get("status") == "True" for how in _ENDS)

    async def _pods(self, request: LogsRequest) -> list[Object]:
        selection = Selection(request.namespace, label_selector=f"{JOB_NAME_LABEL}={request.run}")
        pods = (await self._kube.list(POD, selection, project=lambda pod: pod)).items
        return sorted(pods, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))


def _has_started(pod: Object) -> bool:
    statuses: list[dict[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or []
    wanted = _container_of(pod)
    states = [status.get("state") or {} for status in statuses if status.get("name") == wanted]
    return any(state.get("running") or state.get("terminated") for state in states)


def _container_of(pod: Object) -> str:
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get(_DEFAULT_CONTAINER_ANNOTATION) or pod["spec"]["containers"][0]["name"])
