"""Policy objects in the cluster: watch their kinds, compare, apply until they say what they should, prune our own.

It decides nothing about orders or reports; a policy is a `policies.manifest.Manifest`.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from atoll.edge.member import namespaces
from atoll.edge.member.errors import KindNotServed
from atoll.edge.member.informer import Informer
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import FIELD_MANAGER, Kind, Object, ObjectRef, Selection, labels_of, was_applied_by
from atoll.edge.member.proof.ladder import Live
from atoll.federation.errors import Internal, NotFound
from atoll.policies.drift import Drift, find_drift
from atoll.policies.manifest import Manifest
from atoll.policies.stamp import POLICYSET_LABEL, policyset_label

# What a comparison reads, and the proof; managedFields are read afresh when something differs.
_METADATA = ("name", "namespace", "labels", "annotations", "uid")
_VALID = "Valid"  # Cilium's own check of a policy (pkg/k8s/apis/cilium.io/v2 PolicyConditionValid)


class PolicyObjects:
    """The policy objects of one cluster."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._informers: dict[Kind, Informer[Object]] = {}
        self._unstarted: asyncio.Queue[Informer[Object]] = asyncio.Queue()
        self._handler: Callable[[Kind, str], None] = lambda _kind, _key: None
        self._doubt_handler: Callable[[], None] = lambda: None
        # What the watch showed when it was last found to agree, and the fingerprint of the policy that it agreed with.
        self._agreed: dict[ObjectRef, tuple[str, Object]] = {}

    def on_change(self, handler: Callable[[Kind, str], None]) -> None:
        """Call a handler with kind and key of each labelled object that was added, changed or deleted."""
        self._handler = handler

    def on_doubt(self, handler: Callable[[], None]) -> None:
        """Call a handler when any object may have changed unheard: a watch broke, or a kind was listed anew."""
        self._doubt_handler = handler

    async def run(self) -> None:
        """Follow the kinds that are watched until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                informer = await self._unstarted.get()
                group.create_task(informer.run())

    def watch(self, kind: Kind) -> None:
        """Follow a kind from now on."""
        if kind in self._informers:
            return
        selection = Selection(label_selector=POLICYSET_LABEL)
        informer = Informer(self._kube, kind, project=_body, selection=selection)
        informer.on_change(lambda key: self._handler(kind, key))
        informer.on_list(self._doubt_handler)
        informer.on_loss(self._doubt_handler)
        self._informers[kind] = informer
        self._unstarted.put_nowait(informer)

    def live(self, ref: ObjectRef) -> Live | None:
        """Give what the watch shows of an object's identity and of Cilium's own check; None if it shows no object."""
        informer = self._informers.get(ref.kind)
        found = informer.items.get(ref.key) if informer is not None else None
        if found is None:
            return None
        said = found.get("status") or {}
        is_valid = said["status"] == "True" if said else None
        return Live(str(found["metadata"].get("uid", "")), is_valid, said.get("message", ""), said.get("at"))

    async def drift(self, policy: Manifest, digest: str) -> Drift | None:
        """Compare the live object with the policy: what the watch shows as equal is believed, a difference read afresh.

        Once one watch is lost none is believed, since whatever ended it may have ended the others too.

        Args:
            policy: what should be there.
            digest: a fingerprint of the policy; what agreed with it before and has not changed is not compared again.

        Raises:
            KindNotServed: the cluster has no such kind. Unavailable: it could not be asked.
        """
        ref = ObjectRef.of(policy.body)
        cached = self._informers[ref.kind].items.get(ref.key) if self._believes(ref.kind) else None
        agreed = self._agreed.get(ref)
        if cached is not None and agreed is not None and agreed[0] == digest and agreed[1] is cached:
            return None
        if cached is not None and find_drift(policy, cached) is None:
            self._agreed[ref] = digest, cached
            return None
        return find_drift(policy, await self._kube.get(ref))

    def _believes(self, kind: Kind) -> bool:
        informer = self._informers.get(kind)
        is_lost = any(each.problem for each in self._informers.values())
        return informer is not None and informer.has_synced.is_set() and not is_lost

    async def hold(self, policy: Manifest) -> None:
        """Apply a policy and make sure that the object then says exactly that.

        Raises:
            KindNotServed, InvalidInput, Refused: the cluster does not take it.
            Internal: something in the cluster changes it on its way in.
        """
        applied = await self._apply(policy)
        if find_drift(policy, applied) is None:
            return
        # Server-side apply leaves what others added, such as one more rule: the whole content is written over it.
        content = {name: policy.body[name] for name in ("spec", "specs") if name in policy.body}
        rest = {name: value for name, value in applied.items() if name not in ("spec", "specs")}
        left = find_drift(policy, await self._kube.replace(rest | content))
        if left:
            paths = ", ".join(left.changed_paths)
            raise Internal(
                f"{ObjectRef.of(policy.body)} was applied, yet the API server stores other values at {paths}"
            )

    async def _apply(self, policy: Manifest) -> Object:
        manifest = dict(policy.body)
        try:
            return await self._kube.server_side_apply(manifest)
        except KindNotServed:
            raise
        except NotFound:  # the namespace is missing: made here, so that no pod is ever in it without its policy
            if not policy.namespace:
                raise
            await namespaces.ensure(self._kube, policy.namespace)
            return await self._kube.server_side_apply(manifest)

    async def labelled(self, policyset: str, kinds: Iterable[Kind]) -> set[ObjectRef]:
        """Name all objects that bear the label of a set; a kind that is no longer served has none.

        The watches follow exactly the labelled objects, so the API server is asked only while they are not believed.
        """
        found: set[ObjectRef] = set()
        label = policyset_label(policyset)
        selection = Selection(label_selector=f"{POLICYSET_LABEL}={label}")
        for kind in kinds:
            if self._believes(kind):
                items = self._informers[kind].items.values()
                found.update(ObjectRef.of(one) for one in items if labels_of(one).get(POLICYSET_LABEL) == label)
                continue
            try:
                found.update((await self._kube.list(kind, selection, project=ObjectRef.of)).items)
            except KindNotServed:
                continue
        return found

    async def prune(self, ref: ObjectRef) -> bool:
        """Delete an object if Atoll applied it; tell whether it did. A foreign object is left alone."""
        self._agreed.pop(ref, None)
        live = await self._kube.get(ref)
        if live is None or not was_applied_by(live, FIELD_MANAGER):
            return False
        return await self._kube.delete(ref, uid=live["metadata"]["uid"])


def _body(obj: Object) -> Object:
    metadata = {name: obj["metadata"][name] for name in _METADATA if name in obj["metadata"]}
    content = {name: obj[name] for name in ("apiVersion", "kind", "spec", "specs") if name in obj}
    return content | {"metadata": metadata, "status": _checked(obj)}


def _checked(obj: Object) -> Object:
    """Give what Cilium's operator says of an object; empty if it has said nothing."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if condition.get("type") == _VALID:
            at = _moment(condition.get("lastTransitionTime"))
            return {"status": condition.get("status"), "message": str(condition.get("message", "")), "at": at}
    return {}


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
