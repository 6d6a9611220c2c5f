"""A run's objects in the cluster: apply them, read what they do, stop them. Decides nothing about orders or reports.

Only objects that carry the run's own label are ever removed: never a namespace, never a volume claim, nothing foreign.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from atoll.edge.member import namespaces
from atoll.edge.member.deadline import told_apart
from atoll.edge.member.errors import InvalidManifest
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import EPOCH_ANNOTATION, RUN_LABEL, Kind, Object, ObjectRef, Selection, labels_of
from atoll.edge.member.run_status import RunState, is_live_pod, read_run
from atoll.federation.bus.messages import RunOrder
from atoll.federation.errors import Conflict, InvalidInput

JOB = Kind("batch/v1", "Job")
POD = Kind("v1", "Pod")
# The Job controller labels every pod with its Job's name (batch/v1 JobNameLabel, Kubernetes 1.27).
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"


def refs_of(order: RunOrder) -> tuple[ObjectRef, ...]:
    """Name the objects of an order that live and die with its run.

    Raises:
        InvalidInput: there is no batch/v1 Job among them.
    """
    own = tuple(ObjectRef.of(manifest) for manifest in order.manifests if _belongs(manifest, order.run))
    if not any(ref.kind == JOB for ref in own):
        raise InvalidInput(f"the order of run {order.run} holds no {JOB} labelled {RUN_LABEL}={order.run}")
    return own


class Workloads:
    """The workloads of one cluster."""

    def __init__(self, kube: Kube, now: Callable[[], datetime]) -> None:
        self._kube, self._now = kube, now

    async def clear_way(self, order: RunOrder) -> None:
        """Make sure that applying an order can neither take over a foreign Job nor run beside an older epoch.

        Raises:
            InvalidInput: a foreign Job has its name, or the order is stale. Conflict: an older epoch has to end first.
        """
        for ref in _jobs(refs_of(order)):
            live = await self._kube.get(ref)
            if live is None:
                continue
            if not _belongs(live, order.run):
                raise InvalidInput(f"{ref} is there already and not of this run: delete it, or name the job otherwise")
            epoch = _epoch_of(live) or 0
            if epoch > order.epoch:
                raise InvalidInput(f"epoch {order.epoch} of run {order.run} is stale: {ref} is of epoch {epoch}")
            if epoch < order.epoch:
                await self._kube.delete(ref, propagation="Foreground", uid=live["metadata"]["uid"])
                raise Conflict(f"{ref} of epoch {epoch} has to end before epoch {order.epoch} starts")

    async def apply(self, order: RunOrder, *, deadline_seconds: int | None = None) -> None:
        """Apply all manifests in their order; applying them again changes nothing.

        Args:
            deadline_seconds: when its Job ends if nobody prolongs it; None: as the order says.

        Raises:
            InvalidManifest: the API server refuses one for what it says, be it a field that it does not know.
        """
        for manifest in order.manifests:
            given = manifest
            if _belongs(manifest, order.run):
                given = _with_deadline(_with_epoch(manifest, order.epoch), deadline_seconds)
            try:
                await namespaces.apply(self._kube, given)
            except InvalidInput as error:
                raise InvalidManifest(str(error)) from error

    async def read(self, order: RunOrder) -> RunState | None:
        """Read what a run is doing; None if its Job is not there."""
        ref = _jobs(refs_of(order))[0]
        # Pods after the Job: a finished Job then comes with the pods that finished it.
        job = await self._kube.get(ref)
        if job is None or not _belongs(job, order.run) or _epoch_of(job) != order.epoch:
            return None
        return told_apart(order, read_run(job, await self._pods(ref), self._now()))

    async def set_deadline(self, order: RunOrder, seconds: int) -> None:
        """Change when the Job of a run ends by itself; a Job that is not there stays so.

        Raises:
            Conflict: the Job changed meanwhile; retryable.
        """
        job = await self._kube.get(_jobs(refs_of(order))[0])
        if job is not None and _belongs(job, order.run) and _epoch_of(job) == order.epoch:
            await self._kube.replace(_with_deadline(job, seconds))

    async def stop(self, refs: Iterable[ObjectRef], run: str, epoch: int) -> bool:
        """Delete a run's objects; True once nothing of them is left and no pod of theirs runs."""
        is_gone = True
        for ref in refs:
            live = await self._kube.get(ref)
            if live and _belongs(live, run) and _epoch_of(live) in (epoch, None):
                is_gone = False
                if "deletionTimestamp" not in live["metadata"]:
                    await self._kube.delete(ref, propagation="Foreground", uid=live["metadata"]["uid"])
            elif ref.kind == JOB and live is None and any(is_live_pod(pod) for pod in await self._pods(ref)):
                is_gone = False
        return is_gone

    async def _pods(self, job: ObjectRef) -> list[Object]:
        selection = Selection(job.namespace, label_selector=f"{JOB_NAME_LABEL}={job.name}")
        return (await self._kube.list(POD, selection, project=lambda pod: pod)).items


def _jobs(refs: Iterable[ObjectRef]) -> list[ObjectRef]:
    return [ref for ref in refs if ref.kind == JOB]


def _belongs(obj: Mapping[str, Any], run: str) -> bool:
    return labels_of(obj).get(RUN_LABEL) == run


def _with_epoch(manifest: Object, epoch: int) -> Object:
    metadata = manifest["metadata"]
    annotations = (metadata.get("annotations") or {}) | {EPOCH_ANNOTATION: str(epoch)}
    return manifest | {"metadata": metadata | {"annotations": annotations}}


def _with_deadline(manifest: Object, seconds: int | None) -> Object:
    if seconds is None or manifest.get("kind") != JOB.kind:
        return manifest
    return manifest | {"spec": manifest["spec"] | {"activeDeadlineSeconds": seconds}}


def _epoch_of(obj: Mapping[str, Any]) -> int | None:
    text = ((obj.get("metadata") or {}).get("annotations") or {}).get(EPOCH_ANNOTATION, "")
    return int(text) if str(text).isdecimal() else None
