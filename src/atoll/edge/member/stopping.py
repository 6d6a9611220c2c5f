"""The end of a run's objects: they are deleted, and it is known when nothing of them runs any more.

Only objects that carry the run's own label are removed: never a volume claim, nothing foreign.
"""

import math
from collections.abc import Iterable

from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import RUN_LABEL, ObjectRef, Selection
from atoll.edge.member.ordered import belongs, epoch_of
from atoll.edge.member.run_objects import RunObjects
from atoll.edge.member.run_status import is_live_pod
from atoll.federation.workloads import is_adapted, pod_selector

# Kubernetes gives a pod this long to end unless it says otherwise (core/v1 PodSpec).
_DEFAULT_GRACE_SECONDS = 30


class Stopping:
    """Stops runs in one cluster."""

    def __init__(self, kube: Kube) -> None:
        self._kube, self._objects = kube, RunObjects(kube)

    async def stop(
        self, refs: Iterable[ObjectRef], run: str, epoch: int, *, grace_seconds: float | None = None
    ) -> bool:
        """Delete a run's objects; True once nothing of them is left and no pod of theirs runs.

        Args:
            grace_seconds: how long its pods may take to end, where they say more; None: as they say.
        """
        is_gone, selections = True, set[Selection]()
        for ref in refs:
            live = await self._objects.get(ref)
            if live and not (belongs(live, run) and epoch_of(live) in (epoch, None)):
                continue  # somebody else's, with pods of its own
            selections |= _selections(ref, run)
            if live:
                is_gone = False
                if "deletionTimestamp" not in live["metadata"]:
                    await self._kube.delete(ref, propagation="Foreground", uid=live["metadata"]["uid"])
        for selection in selections if grace_seconds is not None and not is_gone else ():
            await self._hasten(selection, run, grace_seconds or 0.0)
        for selection in sorted(selections, key=repr) if is_gone else ():
            is_gone = await self._end_pods(selection, run) and is_gone
        return is_gone

    async def _end_pods(self, selection: Selection, run: str) -> bool:
        """Delete pods of a run that have outlived their workload, such as orphans; True once none runs."""
        pods = [pod for pod in await self._objects.pods(selection) if is_live_pod(pod)]
        for pod in pods:
            if belongs(pod, run) and "deletionTimestamp" not in pod["metadata"]:
                await self._kube.delete(ObjectRef.of(pod), uid=pod["metadata"]["uid"])
        return not pods

    async def _hasten(self, selection: Selection, run: str, grace_seconds: float) -> None:
        """Give the pods of a run less time to end than they ask for: a deletion's grace can only be shortened.

        Never none: that would take the object away before its kubelet has ended it, as kubectl --force does.
        """
        seconds = max(1, math.ceil(grace_seconds))
        for pod in await self._objects.pods(selection):
            metadata = pod["metadata"]
            own = (pod.get("spec") or {}).get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)
            standing = metadata.get("deletionGracePeriodSeconds", own)
            if belongs(pod, run) and is_live_pod(pod) and seconds < standing:
                await self._kube.delete(ObjectRef.of(pod), uid=metadata["uid"], grace_seconds=seconds)


def _selections(ref: ObjectRef, run: str) -> set[Selection]:
    """Give where pods of a run may be found: by its label, and by its kind's own where templates are not the hub's."""
    labels = {f"{RUN_LABEL}={run}"}
    if is_adapted(*ref.kind):
        labels.add(
            pod_selector({"apiVersion": ref.kind.api_version, "kind": ref.kind.kind, "metadata": {"name": ref.name}})
        )
    return {Selection(ref.namespace, label_selector=selector) for selector in labels}
