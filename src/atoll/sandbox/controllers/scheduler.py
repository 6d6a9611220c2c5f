"""Binds pods to nodes.

Owns the cycle: one snapshot of nodes and pods, one decision per waiting pod, oldest first; fitting.py decides.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from atoll.kubeapi.errors import Conflict, NotFound
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers.copies import Copies
from atoll.sandbox.controllers.fitting import NodeView, Unfit, choose, requests_of
from atoll.sandbox.controllers.runtime import Controller, Source, one_key
from atoll.sandbox.events import Recorder, Said
from atoll.sandbox.kinds.catalog import CLAIM, NODE, POD

_ENDED = ("Succeeded", "Failed")


class Scheduler:
    """The scheduler of one cluster."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Read and bind through `store`."""
        self._store = store
        self._pods = Copies(store, POD)
        self._clock = clock
        self._events = Recorder(store, "default-scheduler", clock)

    def controller(self) -> Controller:
        """Return what to run: anything that may make room, or a pod that wants some, starts a cycle."""
        return Controller("scheduler", tuple(Source(rt, one_key) for rt in (POD, NODE, CLAIM)), self._cycle)

    async def _cycle(self, _: str) -> None:
        # 1. snapshot
        pods = await self._pods.list()
        waiting = [pod for pod in pods if _is_waiting(pod)]
        if not waiting:
            return
        nodes = {node["metadata"]["name"]: NodeView(node) for node in (await self._store.list(NODE)).items}
        claims = {_key(claim): claim for claim in (await self._store.list(CLAIM)).items}
        # 2. what is taken
        for pod in pods:
            view = nodes.get(pod["spec"].get("nodeName", ""))
            if view is not None and pod["status"]["phase"] not in _ENDED:
                view.take(requests_of(pod))
        # 3. decide and bind, oldest first
        for pod in sorted(waiting, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"])):
            await self._place(pod, list(nodes.values()), claims)

    async def _place(self, pod: Object, nodes: list[NodeView], claims: dict[str, Object]) -> None:
        unbound = _unbound(pod, claims)
        chosen = Unfit(unbound) if unbound else choose(pod, nodes)
        try:
            if isinstance(chosen, Unfit):
                await self._refuse(pod, chosen.message)
            else:
                chosen.take(requests_of(pod))
                await self._bind(pod, chosen.node["metadata"]["name"])
        except (NotFound, Conflict):
            return  # the pod changed or went; its own event starts the next cycle

    async def _bind(self, pod: Object, node: str) -> None:
        metadata = pod["metadata"]
        await self._write_condition(pod, "True")  # before the binding: from then on the kubelet writes the status
        identity = {"uid": metadata["uid"]}
        await self._store.patch(
            POD,
            metadata["namespace"],
            metadata["name"],
            Patch("merge", {"metadata": identity, "spec": {"nodeName": node}}),
        )
        where = f"{metadata['namespace']}/{metadata['name']}"
        await self._events.say(pod, Said("Scheduled", f"Successfully assigned {where} to {node}"))

    async def _refuse(self, pod: Object, message: str) -> None:
        conditions = pod["status"].get("conditions", ())
        if any(each["type"] == "PodScheduled" and each.get("message") == message for each in conditions):
            return
        await self._write_condition(pod, "False", reason="Unschedulable", message=message)
        await self._events.say(pod, Said("FailedScheduling", message, "Warning"))

    async def _write_condition(self, pod: Object, status: str, **why: str) -> None:
        metadata = pod["metadata"]
        live = await self._store.get(POD, metadata["namespace"], metadata["name"])
        others = [each for each in live["status"].get("conditions", ()) if each["type"] != "PodScheduled"]
        condition = {"type": "PodScheduled", "status": status, "lastTransitionTime": timestamp(self._clock()), **why}
        body = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [*others, condition]}}
        patch = Patch("merge", body)
        await self._store.patch(POD, metadata["namespace"], metadata["name"], patch, subresource="status")


def _is_waiting(pod: Object) -> bool:
    gated = pod["spec"].get("schedulingGates") or pod["spec"].get("schedulerName") != "default-scheduler"
    is_over = "deletionTimestamp" in pod["metadata"] or pod["status"]["phase"] in _ENDED
    return not (gated or is_over or pod["spec"].get("nodeName"))


def _key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _unbound(pod: Object, claims: dict[str, Object]) -> str:
    """Say which claim keeps a pod from being placed; empty if none does."""
    for volume in pod["spec"].get("volumes", ()):
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if name is None:
            continue
        claim = claims.get(f"{pod['metadata']['namespace']}/{name}")
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim["status"]["phase"] != "Bound":
            return f'pod has unbound immediate PersistentVolumeClaims: "{name}"'
    return ""
