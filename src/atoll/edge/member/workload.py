"""A run's objects in the cluster: apply them, read what they do, stop them. Decides nothing about orders or reports.

What a kind means is its adapter's to say (federation/workloads). Only objects that carry the run's own label are ever
changed or removed: never a volume claim, nothing foreign; what becomes of namespaces is decided in namespaces.py.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from atoll.edge.member import namespaces
from atoll.edge.member.array_tasks import (
    is_array,
    out_of_queue,
    pods_to_read,
    queue_label,
    status_skipping,
    why_no_array,
    with_tasks,
)
from atoll.edge.member.deadline import told_apart
from atoll.edge.member.errors import InvalidManifest
from atoll.edge.member.fuse import JOB, fuse, fuse_ref, owned_by
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import EPOCH_ANNOTATION, POD, Kind, Object, ObjectRef, Selection, labels_of
from atoll.edge.member.ordered import belongs, epoch_of, needs_fuse, refs_of, workloads_of
from atoll.edge.member.run_objects import RunObjects, difference, guarded
from atoll.edge.member.run_status import RunState, Spent, is_live_pod, read_run, spent_by
from atoll.edge.member.stopping import Stopping
from atoll.federation.bus.messages import RunOrder
from atoll.federation.errors import Conflict, InvalidInput, NotFound
from atoll.federation.workloads import is_suspended as is_held
from atoll.federation.workloads import pod_selector, with_suspend

# Every API server makes it when it first starts, and lets nobody delete it (Kubernetes: namespaces that are protected).
_FIRST_NAMESPACE = ObjectRef(Kind("v1", "Namespace"), None, "kube-system")


class Workloads:
    """The workloads of one cluster."""

    def __init__(self, kube: Kube, now: Callable[[], datetime], *, ended: Callable[[str], Spent]) -> None:
        """Change a cluster.

        Args:
            ended: tells what the ended pods of a run (`namespace/name`) have used; Unavailable while nobody knows.
        """
        self._kube, self._now, self._ended = kube, now, ended
        self._namespaces = namespaces.Known(kube)
        self._objects, self._stopping = RunObjects(kube), Stopping(kube)

    async def cluster_made_at(self) -> datetime | None:
        """Tell when the cluster was made: as old as its first namespace; None if that cannot be told."""
        first = await self._kube.get(_FIRST_NAMESPACE)
        made = (first or {}).get("metadata", {}).get("creationTimestamp")
        return datetime.fromisoformat(made) if made else None

    async def clear_way(self, order: RunOrder) -> frozenset[ObjectRef]:
        """Make sure that applying an order can neither take over a foreign object nor run beside an older epoch.

        Returns:
            Its objects that stand already, applied before a crash.

        Raises:
            InvalidInput: a foreign object has its name, or the order is stale.
            Conflict: an older epoch has to end first.
        """
        standing: set[ObjectRef] = set()
        for ref in refs_of(order):
            live = await self._kube.get(ref)
            if live is None:
                continue
            standing.add(ref)
            if not belongs(live, order.run):
                raise InvalidInput(f"{ref} is there already and not of this run: delete it, or name the job otherwise")
            epoch = epoch_of(live) or 0
            if epoch > order.epoch:
                raise InvalidInput(f"epoch {order.epoch} of run {order.run} is stale: {ref} is of epoch {epoch}")
            if epoch < order.epoch:
                await self._kube.delete(ref, propagation="Foreground", uid=live["metadata"]["uid"])
                raise Conflict(f"{ref} of epoch {epoch} has to end before epoch {order.epoch} starts")
        return frozenset(standing)

    async def apply(
        self,
        order: RunOrder,
        *,
        standing: frozenset[ObjectRef] | None,
        deadline_seconds: int | None = None,
        is_suspended: bool = False,
    ) -> None:
        """Apply all manifests in their order.

        Args:
            standing: workloads that are left as they are: whoever governs them since, such as Kueue, is not overruled.
                None: nobody has looked, and the workload is made only if nothing has its name.
            deadline_seconds: when the run ends if nobody prolongs it; None: as the order says.
            is_suspended: have the workload wait until `suspend` lets it go.

        Raises:
            Conflict: nobody had looked, and something has its name.
            InvalidManifest: the API server refuses one for what it says, be it a field that it does not know.
            KindNotServed, NotFound: a CRD or the namespace is not there just now.
        """
        try:
            await self._apply(order, standing, deadline_seconds=deadline_seconds, is_suspended=is_suspended)
        except NotFound:
            if not self._namespaces.forget():
                raise
            await self._apply(order, standing, deadline_seconds=deadline_seconds, is_suspended=is_suspended)

    async def _apply(
        self,
        order: RunOrder,
        standing: frozenset[ObjectRef] | None,
        *,
        deadline_seconds: int | None,
        is_suspended: bool,
    ) -> None:
        own = workloads_of(order)
        begins = standing is None or not standing.issuperset(map(ObjectRef.of, own))
        for manifest in order.manifests:
            if manifest not in own:
                await self._prepare(manifest, begins=begins)
        owner = None
        if needs_fuse(order) and deadline_seconds is not None:
            owner = await self._put(fuse(order.namespace, order.run, epoch=order.epoch, seconds=deadline_seconds))
        for manifest in own:
            if standing is not None and ObjectRef.of(manifest) in standing:
                continue
            given = _with_epoch(manifest, order.epoch)
            given = with_suspend(given, True) if is_suspended or order.tasks else given
            given = out_of_queue(given) if order.tasks else given
            given = owned_by(given, owner) if owner else _with_deadline(given, deadline_seconds)
            await self._put_own(given, is_new=standing is None)
        if order.tasks:
            await self._select_tasks(order)
            if not is_suspended and not any(is_held(each) for each in own):
                await self.suspend(order, is_suspended=False)

    async def _select_tasks(self, order: RunOrder) -> None:
        """Keep the tasks of an array from running that are not of this attempt; its Job is suspended meanwhile."""
        for manifest in workloads_of(order):
            ref, queued = ObjectRef.of(manifest), queue_label(manifest)
            live = await self._objects.live(ref, order)
            if live is not None and (status := status_skipping(order, live)) is not None:
                live = await self._kube.merge_patch(ref, guarded(live) | {"status": status}, subresource="status")
            if live is not None and not queued.items() <= labels_of(live).items():
                guard = guarded(live)["metadata"]
                await self._kube.merge_patch(ref, {"metadata": guard | {"labels": queued}})

    async def set_parallelism(self, order: RunOrder, count: int) -> None:
        """Have so many tasks of an array run at once; what is not there stays so.

        Raises:
            Conflict: it changed meanwhile; retryable.
        """
        for ref in map(ObjectRef.of, workloads_of(order)):
            live = await self._objects.live(ref, order)
            if live is not None and is_array(live):
                await self._kube.merge_patch(ref, guarded(live) | {"spec": {"parallelism": count}})

    async def _prepare(self, manifest: Object, *, begins: bool) -> None:
        """Put what a workload stands on."""
        if ObjectRef.of(manifest).kind != namespaces.NAMESPACE:
            await self._put(manifest)
            return
        with _judged():
            await self._namespaces.have(manifest, begins=begins)

    async def _put(self, manifest: Object, *, is_new: bool = False) -> Object:
        with _judged():
            return await (self._kube.create(manifest) if is_new else namespaces.apply(self._kube, manifest))

    async def _put_own(self, manifest: Object, *, is_new: bool) -> None:
        made = await self._put(manifest, is_new=is_new)
        if problem := why_no_array(manifest, made):
            await self._kube.delete(ObjectRef.of(made), propagation="Foreground", uid=made["metadata"]["uid"])
            raise InvalidManifest(problem)

    async def read(self, order: RunOrder) -> RunState | None:
        """Read what a run is doing; None if something of it is not there."""
        found: list[tuple[Object, list[Object]]] = []
        for ref in map(ObjectRef.of, workloads_of(order)):
            # Pods after their workload: a finished one then comes with the pods that finished it.
            live = await self._objects.live(ref, order)
            if live is None:
                return None
            found.append((live, [live] if ref.kind == POD else await self._pods(order, live)))
        state = read_run(found, self._now())
        if is_array(found[0][0]):
            state = self._as_array(order, state, *found[0])
        if needs_fuse(order):
            owner = await self._objects.live(fuse_ref(order.namespace, order.run), order)
            state = replace(state, **_burning(owner)) if owner is not None else state
        return told_apart(order, state)

    def _as_array(self, order: RunOrder, state: RunState, job: Object, pods: Iterable[Object]) -> RunState:
        live = tuple(pod for pod in pods if is_live_pod(pod))
        spent = spent_by(live, self._now()) + self._ended(f"{order.namespace}/{order.run}")
        return with_tasks(order, state, job, live, spent=spent)

    async def is_burnt(self, order: RunOrder) -> bool:
        """Tell whether the fuse of a run is gone, which takes the workload along."""
        if not needs_fuse(order):
            return False
        owner = await self._objects.live(fuse_ref(order.namespace, order.run), order)
        return owner is None or "deletionTimestamp" in owner["metadata"]

    async def put_out(self, order: RunOrder) -> None:
        """Have the fuse of a run that has finished burn no longer: its workload and its logs stay with the order."""
        if needs_fuse(order):
            await self.set_deadline(order, None)

    async def set_deadline(self, order: RunOrder, seconds: int | None) -> None:
        """Change when a run ends by itself, None: never; what is not there stays so.

        Raises:
            Conflict: it changed meanwhile; retryable.
        """
        has_fuse = needs_fuse(order)
        ref = fuse_ref(order.namespace, order.run) if has_fuse else ObjectRef.of(workloads_of(order)[0])
        live = await self._objects.live(ref, order)
        if live is not None:
            await self._kube.merge_patch(ref, guarded(live) | {"spec": {"activeDeadlineSeconds": seconds}})

    async def suspend(self, order: RunOrder, *, is_suspended: bool) -> None:
        """Have the workload of a run wait, or let it go; what is not there stays so.

        Raises:
            Conflict: it changed meanwhile; retryable.
        """
        for ref in map(ObjectRef.of, workloads_of(order)):
            live = await self._objects.live(ref, order)
            if live is not None:
                changed = with_suspend(live, is_suspended)
                await self._kube.merge_patch(ref, guarded(live) | {"spec": difference(live["spec"], changed["spec"])})

    async def stop(
        self, refs: Iterable[ObjectRef], run: str, epoch: int, *, grace_seconds: float | None = None
    ) -> bool:
        """Delete a run's objects; True once nothing of them is left and no pod of theirs runs (see `Stopping.stop`)."""
        return await self._stopping.stop(refs, run, epoch, grace_seconds=grace_seconds)

    async def _pods(self, order: RunOrder, workload: Object) -> list[Object]:
        labels, fields = pod_selector(workload), pods_to_read(order, workload)
        return await self._objects.pods(Selection(workload["metadata"]["namespace"], labels, fields))


def _with_epoch(manifest: Object, epoch: int) -> Object:
    metadata = manifest["metadata"]
    annotations = (metadata.get("annotations") or {}) | {EPOCH_ANNOTATION: str(epoch)}
    return manifest | {"metadata": metadata | {"annotations": annotations}}


def _with_deadline(manifest: Object, seconds: int | None) -> Object:
    if seconds is None or ObjectRef.of(manifest).kind != JOB:
        return manifest
    return manifest | {"spec": manifest["spec"] | {"activeDeadlineSeconds": seconds}}


def _burning(owner: Object) -> dict[str, Any]:
    seconds = (owner.get("spec") or {}).get("activeDeadlineSeconds")
    started = str((owner.get("status") or {}).get("startTime") or "")
    return {"job_started": started, "deadline_seconds": int(seconds) if seconds is not None else None}


@contextlib.contextmanager
def _judged() -> Iterator[None]:
    """What the API server does not take is the order's fault."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidManifest(str(error)) from error
