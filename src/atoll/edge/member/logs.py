"""Logs of runs: answers the hub's `logs` calls by streaming the containers' output. It keeps nothing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Protocol

from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Object, ObjectRef, Selection, labels_of
from atoll.edge.member.ordered import POD
from atoll.federation.bus.messages import LogsRequest
from atoll.federation.errors import NotFound

_WAIT_SECONDS = 0.5
# Whose task of an array a pod is (batch/v1 JobCompletionIndexAnnotation; a label, too, since Kubernetes 1.28).
_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
# kubectl's: which container's log is meant when none is named.
_DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"


class Runs(Protocol):
    """What is needed to know of runs."""

    def selector(self, namespace: str, run: str) -> str:
        """Give the label selector of a run's pods."""
        ...

    def is_over(self, namespace: str, run: str, *, has_begun: bool) -> bool:
        """Tell whether a run will make no more pods; one that is not known may still come, unless it had begun."""
        ...


class Logs:
    """Reads the logs of one cluster's runs."""

    def __init__(self, kube: Kube, runs: Runs) -> None:
        self._kube, self._runs = kube, runs

    async def serve(self, payload: bytes) -> AsyncIterator[bytes]:
        """Give the log of a run's pods, oldest pod first; with `follow` wait for them to start and to end.

        Raises:
            NotFound: the run has no pod, and following was not asked for.
        """
        request = LogsRequest.decode(payload)
        seen: set[str] = set()
        while True:
            # Asked before the pods are listed: a run that is over makes no pod after those that are listed then.
            has_ended = not request.follow or self._runs.is_over(request.namespace, request.run, has_begun=bool(seen))
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
            raise NotFound(f"run {request.namespace}/{request.run} has no pod that has started")

    def _open(self, pod: Object, request: LogsRequest) -> AsyncGenerator[bytes, None]:
        container = _container_of(pod)
        return self._kube.logs(
            ObjectRef.of(pod), container=container, follow=request.follow, tail_lines=request.tail_lines
        )

    async def _pods(self, request: LogsRequest) -> list[Object]:
        selector = self._runs.selector(request.namespace, request.run)
        selection = Selection(request.namespace, label_selector=selector)
        pods = (await self._kube.list(POD, selection, project=lambda pod: pod)).items
        if request.task is not None:
            pods = [pod for pod in pods if labels_of(pod).get(_INDEX_LABEL) == str(request.task)]
        return sorted(pods, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))


def _has_started(pod: Object) -> bool:
    statuses: list[dict[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or []
    wanted = _container_of(pod)
    states = [status.get("state") or {} for status in statuses if status.get("name") == wanted]
    return any(state.get("running") or state.get("terminated") for state in states)


def _container_of(pod: Object) -> str:
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get(_DEFAULT_CONTAINER_ANNOTATION) or pod["spec"]["containers"][0]["name"])
