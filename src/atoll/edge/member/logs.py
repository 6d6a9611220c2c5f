"""Logs of runs: answers the hub's `logs` calls by streaming the containers' output, or what was kept of it.

The pods of a run that is followed are read side by side, whole lines at a time. It keeps nothing itself.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from atoll.edge.member.kept_logs import KeptLog, KeptLogs
from atoll.edge.member.kube import Kube
from atoll.edge.member.last_words import LastWords
from atoll.edge.member.log_lines import Lines, last_lines
from atoll.edge.member.merging import Merged
from atoll.edge.member.objects import Object, ObjectRef
from atoll.edge.member.run_pods import RunPods, age_of, container_of, has_started, task_of
from atoll.federation.bus.messages import LogsRequest
from atoll.federation.errors import NotFound

_WAIT_SECONDS = 0.5
# Pods that are followed at once for one reader, each by a connection; of a larger array the others come as they end.
_AT_ONCE = 50
_CUT = b"[what was printed before was not kept]\n"


class Runs(Protocol):
    """What is needed to know of runs."""

    def is_over(self, namespace: str, run: str, *, has_begun: bool) -> bool:
        """Tell whether a run will make no more pods; one that is not known may still come, unless it had begun."""
        ...


@dataclass(frozen=True)
class _Source:
    """One pod's log: in the cluster where `pod` stands, else what was kept of it."""

    uid: str
    age: tuple[str, str]
    task: int | None
    pod: Object | None = None
    kept: bytes = b""

    @property
    def prefix(self) -> bytes:
        _, name = self.age
        return f"[{name if self.task is None else self.task}] ".encode()


class Logs:
    """Reads the logs of one cluster's runs."""

    def __init__(self, kube: Kube, pods: RunPods, runs: Runs, *, kept: KeptLogs, words: LastWords) -> None:
        self._kube, self._pods, self._runs, self._kept, self._words = kube, pods, runs, kept, words

    async def serve(self, payload: bytes) -> AsyncIterator[bytes]:
        """Give the log of a run's pods, oldest pod first; with `follow` wait for them to start and to end.

        Raises:
            NotFound: the run has no pod, and following was not asked for.
        """
        request = LogsRequest.decode(payload)
        seen: set[str] = set()
        chunks = self._follow(request, seen) if request.follow else self._read_all(request, seen)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk
        if not seen:
            raise NotFound(f"run {request.namespace}/{request.run} has no pod that has started")

    async def _read_all(self, request: LogsRequest, seen: set[str]) -> AsyncGenerator[bytes, None]:
        sources = await self._sources(request, with_kept=True)
        seen.update(source.uid for source in sources)
        for source in sources:
            async for chunk in self._read(source, request, lambda: len(sources) == 1):
                yield chunk

    async def _follow(self, request: LogsRequest, seen: set[str]) -> AsyncGenerator[bytes, None]:
        merged = Merged(_AT_ONCE)
        try:
            while True:
                # Asked before the pods are listed: a run that is over makes no pod after those that are listed then.
                is_over = self._runs.is_over(request.namespace, request.run, has_begun=bool(seen))
                for source in await self._sources(request, with_kept=is_over):
                    if source.uid not in seen:
                        seen.add(source.uid)
                        merged.add(self._read(source, request, lambda: len(seen) == 1))
                async for chunk in merged.to_the_end() if is_over else merged.for_a_while(_WAIT_SECONDS):
                    yield chunk
                if is_over:
                    return
        finally:
            await merged.close()

    async def _sources(self, request: LogsRequest, *, with_kept: bool) -> list[_Source]:
        """Find what there is to read of a run, oldest first."""
        pods = [pod for pod in await self._pods.of(request.namespace, request.run) if has_started(pod)]
        found = [_Source(pod["metadata"]["uid"], age_of(pod), task_of(pod), pod) for pod in pods]
        if with_kept:
            uids = {source.uid for source in found}
            await self._words.settled(request.namespace, request.run, uids)
            kept = self._kept.of(request.namespace, request.run)
            found += [_of_kept(about, text) for about, text in kept if about.uid not in uids]
        mine = [source for source in found if request.task in (None, source.task)]
        return sorted(mine, key=lambda source: source.age)

    async def _read(
        self, source: _Source, request: LogsRequest, is_alone: Callable[[], bool]
    ) -> AsyncGenerator[bytes, None]:
        """Give the log of one pod: as it comes while it is alone and bare, else in whole lines."""
        lines = Lines(source.prefix if request.with_prefix else b"")
        async with contextlib.aclosing(self._raw(source, request)) as chunks:
            async for chunk in chunks:
                if whole := chunk if is_alone() and not request.with_prefix else lines.add(chunk):
                    yield whole
        if rest := lines.rest():
            yield rest

    def _raw(self, source: _Source, request: LogsRequest) -> AsyncGenerator[bytes, None]:
        if source.pod is None:
            return _once(last_lines(source.kept, request.tail_lines))
        container = container_of(source.pod)
        return self._kube.logs(
            ObjectRef.of(source.pod),
            container=container,
            follow=request.follow,
            tail_lines=request.tail_lines,
            since_seconds=request.since_seconds,
        )


async def _once(text: bytes) -> AsyncGenerator[bytes, None]:
    yield text


def _of_kept(about: KeptLog, text: bytes) -> _Source:
    return _Source(about.uid, (about.created_at, about.pod), about.task, kept=(_CUT if about.is_cut else b"") + text)
