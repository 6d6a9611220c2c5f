"""The StatefulSet controller: pods with a number and a volume each, replaced in place under the same name.

Owns the writes; what to do is decided by `plan`, which is pure. A pod whose template changed is replaced when all
others are ready, the last first (kubernetes.io: StatefulSets, Rolling Updates).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atoll.kubeapi.errors import AlreadyExists, NotFound
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers.deployment_plan import template_hash
from atoll.sandbox.controllers.runtime import Controller, Source, own_key, owner_key, split
from atoll.sandbox.kinds.catalog import CLAIM, POD, STATEFUL_SET

REVISION, POD_NAME = "controller-revision-hash", "statefulset.kubernetes.io/pod-name"


@dataclass(frozen=True)
class Step:
    """Everything to do at once: numbers of pods to make, names of pods to delete, and the status."""

    create: tuple[int, ...]
    delete: tuple[str, ...]
    status: Object


class StatefulSetController:
    """The StatefulSets of one cluster."""

    def __init__(self, store: Store) -> None:
        """Read and write through `store`."""
        self._store = store

    def controller(self) -> Controller:
        """Return what to run."""
        sources = (Source(STATEFUL_SET, own_key), Source(POD, owner_key("StatefulSet")))
        return Controller("statefulset", sources, self._reconcile)

    async def _reconcile(self, key: str) -> None:
        namespace, name = split(key)
        try:
            wanted = await self._store.get(STATEFUL_SET, namespace, name)
        except NotFound:
            return
        if "deletionTimestamp" in wanted["metadata"]:
            return
        uid = wanted["metadata"]["uid"]
        pods = [pod for pod in (await self._store.list(POD, namespace)).items if _is_owned(pod, uid)]
        step = plan(wanted, pods)
        if step.status != wanted.get("status"):
            await self._store.update(STATEFUL_SET, {**wanted, "status": step.status}, subresource="status")
        for doomed in step.delete:
            with contextlib.suppress(NotFound):
                await self._store.delete(POD, namespace, doomed)
        for number in step.create:
            for claim in claims(wanted, number):
                with contextlib.suppress(AlreadyExists):
                    await self._store.create(CLAIM, claim, namespace=namespace)
            with contextlib.suppress(AlreadyExists):
                await self._store.create(POD, new_pod(wanted, number), namespace=namespace)


def plan(wanted: Object, pods: Sequence[Object]) -> Step:
    """Decide the next step of a StatefulSet."""
    spec, revision = wanted["spec"], template_hash(wanted)
    named = {pod["metadata"]["name"]: pod for pod in pods}
    names = [_name(wanted, number) for number in range(int(spec["replicas"]))]
    missing = [number for number, name in enumerate(names) if name not in named]
    if spec["podManagementPolicy"] != "Parallel":
        before = names[: missing[0]] if missing else []
        missing = missing[:1] if all(_is_ready(named[name]) for name in before) else []
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    ended = [pod for pod in alive if pod["status"]["phase"] in ("Succeeded", "Failed")]
    surplus = [pod for pod in alive if pod["metadata"]["name"] not in names]
    old = [pod for pod in alive if pod["metadata"]["labels"].get(REVISION) != revision and pod not in surplus]
    is_whole = len(alive) == len(names) and all(_is_ready(pod) for pod in alive)
    unready = [pod for pod in old if not _is_ready(pod)]
    due = unready or (sorted(old, key=_number)[-1:] if is_whole else [])
    doomed = {pod["metadata"]["name"] for pod in (*ended, *surplus, *due)}
    return Step(tuple(missing), tuple(sorted(doomed)), _status(wanted, alive, old, revision))


def claims(wanted: Object, number: int) -> Iterator[Object]:
    """Give the volume claims of one pod: theirs stays when the pod goes."""
    for template in wanted["spec"].get("volumeClaimTemplates", ()):
        name = f"{template['metadata']['name']}-{_name(wanted, number)}"
        labels = wanted["spec"]["selector"].get("matchLabels") or {}
        yield {"metadata": {"name": name, "labels": {**labels}}, "spec": copy.deepcopy(template["spec"])}


def new_pod(wanted: Object, number: int) -> Object:
    """Return the pod of one number."""
    metadata, template, name = wanted["metadata"], wanted["spec"]["template"], _name(wanted, number)
    described = template.get("metadata") or {}
    own = {REVISION: template_hash(wanted), POD_NAME: name, "apps.kubernetes.io/pod-index": str(number)}
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": metadata["name"], "uid": metadata["uid"]}
    spec = copy.deepcopy(template["spec"])
    spec |= {"hostname": name, "subdomain": wanted["spec"].get("serviceName", "")}
    held = [
        {"name": each["metadata"]["name"], "persistentVolumeClaim": {"claimName": f"{each['metadata']['name']}-{name}"}}
        for each in wanted["spec"].get("volumeClaimTemplates", ())
    ]
    spec["volumes"] = [*spec.get("volumes", ()), *held]
    return {
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**(described.get("labels") or {}), **own},
            "annotations": {**(described.get("annotations") or {})},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": spec,
    }


def _status(wanted: Object, alive: Sequence[Object], old: Sequence[Object], revision: str) -> Object:
    ready = sum(_is_ready(pod) for pod in alive)
    return {
        "observedGeneration": wanted["metadata"]["generation"],
        "replicas": len(alive),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentReplicas": len(alive) - len(old),
        "updatedReplicas": len(alive) - len(old),
        "updateRevision": revision,
        "currentRevision": revision if not old else str(old[0]["metadata"]["labels"].get(REVISION, "")),
    }


def _name(wanted: Object, number: int) -> str:
    return f"{wanted['metadata']['name']}-{number}"


def _number(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def _is_owned(pod: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", ()))


def _is_ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
