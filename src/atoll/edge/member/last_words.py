"""What pods print until they end, where they are about to be removed: kept so that it can still be read (kept_logs.py).

A pod that is stopped takes its log along; a run that has ended by itself keeps its pods, and their logs, in the
cluster. Nothing waits for this for long: a log that cannot be read in time is lost, and the run is stopped even so.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Collection, Sequence

import structlog

from atoll.edge.member.kept_logs import LONGEST_BYTES, MOST_OF_A_RUN, KeptLog, KeptLogs
from atoll.edge.member.kube import Kube
from atoll.edge.member.log_lines import Tail
from atoll.edge.member.objects import Object, ObjectRef
from atoll.edge.member.run_pods import RunPods, age_of, container_of, has_started, task_of
from atoll.federation.errors import AtollError
from atoll.federation.workloads import is_live_pod

log = structlog.get_logger(__name__)

# As many lines of some 60 characters are what is kept; the API server knows no limit in bytes from the end.
_LINES = 1000
# How long a run is not stopped for the sake of its log.
_FIRST_SECONDS = 2.0
# Logs that are followed at once, each by a connection through the API server: those of a drained cluster wait.
_AT_ONCE = 64
_SETTLE_SECONDS = 2.0
# Shorter: the pods of a large run are listed again for each of them. Longer: one that ends at once is gone by then.
_MERGE_SECONDS = 0.05


class LastWords:
    """Reads the logs of pods that are about to be removed."""

    def __init__(self, kube: Kube, pods: RunPods, kept: KeptLogs) -> None:
        self._kube, self._pods, self._kept = kube, pods, kept
        self._stopped: set[str] = set()
        self._awaited: set[str] = set()
        self._heard: defaultdict[str, set[str]] = defaultdict(set)
        self._sizes: defaultdict[str, dict[str, int]] = defaultdict(dict)  # of what is kept, by pods listened to now
        self._closed = asyncio.Condition()
        self._queue: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        self._ending: asyncio.Queue[str] = asyncio.Queue()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def before_stop(self, namespace: str, run: str) -> None:
        """Keep what a run has printed, and listen on until its pods end. To be called before they are stopped."""
        key = f"{namespace}/{run}"
        if key not in self._stopped:
            self._stopped.add(key)
            await self._hear(key)

    def note_ending(self, key: str) -> None:
        """Keep what the pods of a run (`namespace/name`) print of which somebody else has stopped one."""
        is_enough = len(self._heard.get(key, ())) >= MOST_OF_A_RUN
        if not is_enough and key not in self._stopped | self._awaited:
            self._awaited.add(key)
            self._ending.put_nowait(key)

    async def settled(self, namespace: str, run: str, standing: Collection[str]) -> None:
        """Wait a moment for logs that are being kept of pods that do not stand any more."""
        key = f"{namespace}/{run}"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS), self._closed:
                await self._closed.wait_for(lambda: self._sizes.get(key, {}).keys() <= set(standing))

    def forget(self, key: str) -> None:
        """Drop what is known and kept of a run that is not ordered any more."""
        self._stopped.discard(key)
        self._heard.pop(key, None)
        self._kept.forget(key)

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear_the_ending())
            while True:
                key, pod = await self._queue.get()
                group.create_task(self._follow(key, pod))

    async def _hear_the_ending(self) -> None:
        while True:
            key = await self._ending.get()
            await asyncio.sleep(_MERGE_SECONDS)  # pods of a run end together, and are looked for together
            self._awaited.discard(key)
            if key not in self._stopped:
                await self._hear(key, is_ending=True)

    async def _hear(self, key: str, *, is_ending: bool = False) -> None:
        """Keep what pods have printed until now, and have those followed that live; of all, or of those that end."""
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                pods = self._new(key, await self._pods.of(*key.split("/", 1)), is_ending=is_ending)
                for pod in filter(is_live_pod, pods):
                    self._sizes[key][pod["metadata"]["uid"]] = 0
                    self._queue.put_nowait((key, pod))
                await asyncio.gather(*(self._keep(key, pod, follow=False) for pod in pods))
        except (AtollError, TimeoutError) as error:
            log.info("the log of a run was not kept whole", run=key, reason=str(error) or type(error).__name__)

    def _new(self, key: str, pods: Sequence[Object], *, is_ending: bool) -> Sequence[Object]:
        """Choose the newest pods that have printed and are not listened to yet, those first that still live."""
        heard = self._heard[key]
        found = [pod for pod in pods if pod["metadata"]["uid"] not in heard and has_started(pod)]
        found = [pod for pod in found if not is_ending or "deletionTimestamp" in pod["metadata"]]
        chosen = sorted(found, key=lambda pod: (is_live_pod(pod), age_of(pod)), reverse=True)[:MOST_OF_A_RUN]
        heard.update(str(pod["metadata"]["uid"]) for pod in chosen)
        return chosen

    async def _follow(self, key: str, pod: Object) -> None:
        try:
            async with self._slots:
                await self._keep(key, pod, follow=True)
        finally:
            self._sizes[key].pop(pod["metadata"]["uid"], None)
            if not self._sizes[key]:
                del self._sizes[key]
            async with self._closed:
                self._closed.notify_all()

    async def _keep(self, key: str, pod: Object, *, follow: bool) -> None:
        """Read a log, to its end if followed; what was kept before stays where that breaks off early."""
        tail = Tail(LONGEST_BYTES)
        chunks = self._kube.logs(ObjectRef.of(pod), container=container_of(pod), follow=follow, tail_lines=_LINES)
        with contextlib.suppress(AtollError):  # its kubelet or its pod is gone
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    tail.add(chunk)
        sizes, uid = self._sizes.get(key, {}), pod["metadata"]["uid"]
        if tail.total_bytes > sizes.get(uid, 0) and key in self._heard:
            if uid in sizes:
                sizes[uid] = tail.total_bytes
            self._put(key, pod, tail)

    def _put(self, key: str, pod: Object, tail: Tail) -> None:
        namespace, _, run = key.partition("/")
        metadata = pod["metadata"]
        about = KeptLog(
            namespace=namespace,
            run=run,
            pod=metadata["name"],
            uid=metadata["uid"],
            task=task_of(pod),
            created_at=str(metadata.get("creationTimestamp", "")),
            is_cut=tail.is_cut,
        )
        self._kept.put(about, tail.text())
