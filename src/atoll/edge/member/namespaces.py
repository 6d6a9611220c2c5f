"""Namespaces of the cluster: made where an order needs one, labelled as ours, given up when empty.

A namespace that was there before is nobody's to change. The pod security level of one that Atoll made is the hub's to
say, until somebody in the cluster says another. It must not know what orders are for.
"""

import contextlib
from typing import Protocol

from atoll.edge.member.errors import KindNotServed, Refused
from atoll.edge.member.kube import Kube, Listing
from atoll.edge.member.objects import Kind, Object, ObjectRef, Selection, labels_of, with_labels
from atoll.federation.errors import Conflict, NotFound
from atoll.federation.workloads import LEVEL_LABEL

NAMESPACE = Kind("v1", "Namespace")
# Only on a namespace that did not exist before Atoll needed it.
MADE_LABEL, MADE = "atoll.dev/made-by", "atoll"
# What Kubernetes itself puts into every namespace, and what only tells of other objects.
_NATIVE = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})
_ECHOES = frozenset({"Event", "PodMetrics"})


class Applier(Protocol):
    """What is needed of an API server to make something."""

    async def get(self, ref: ObjectRef) -> Object | None:
        """Read one object; None if it does not exist."""
        ...

    async def server_side_apply(self, manifest: Object, *, force: bool = True, strict: bool = False) -> Object:
        """Make the object hold what the manifest says."""
        ...


async def apply(kube: Applier, manifest: Object) -> Object:
    """Apply one manifest of an order; a Namespace only where it is missing, and then with our label."""
    ref = ObjectRef.of(manifest)
    if ref.kind != NAMESPACE:
        return await kube.server_side_apply(manifest, strict=True)
    return await kube.get(ref) or await kube.server_side_apply(_as_made(manifest), strict=True)


class Known:
    """The namespaces that were there when they were last looked for: not every run asks for its own."""

    def __init__(self, kube: Applier) -> None:
        """Know none."""
        self._kube = kube
        self._levels: dict[ObjectRef, str] = {}  # as runs that began had them; empty where none has begun

    async def have(self, manifest: Object, *, begins: bool) -> None:
        """Have the namespace of a run's order, at the order's pod security level where that is ours to say.

        Args:
            begins: the run's workload is yet to be made. The order of one that stands may say the level of days ago.
        """
        ref, level = ObjectRef.of(manifest), labels_of(manifest).get(LEVEL_LABEL, "")
        if ref in self._levels and (not begins or self._levels[ref] == level):
            return
        found = await apply(self._kube, manifest)
        if begins:
            await self._hold(manifest, found, level)
        self._levels[ref] = level if begins else ""

    async def _hold(self, manifest: Object, found: Object, level: str) -> None:
        """Write the level if Atoll made the namespace; who wrote another one since owns that field, and keeps it."""
        labels = labels_of(found)
        if level and labels.get(MADE_LABEL) == MADE and labels.get(LEVEL_LABEL) != level:
            with contextlib.suppress(Conflict):
                await self._kube.server_side_apply(_as_made(manifest), force=False, strict=True)

    def forget(self) -> bool:
        """Look for all of them again: one may have gone. False if none was known."""
        was_known = bool(self._levels)
        self._levels.clear()
        return was_known


def _as_made(manifest: Object) -> Object:
    return with_labels(manifest, {MADE_LABEL: MADE})


async def ensure(kube: Applier, name: str) -> None:
    """Have a namespace."""
    await apply(kube, {"apiVersion": NAMESPACE.api_version, "kind": NAMESPACE.kind, "metadata": {"name": name}})


async def made(kube: Kube) -> list[ObjectRef]:
    """Name the namespaces that Atoll made and that are still there."""
    selection = Selection(label_selector=f"{MADE_LABEL}={MADE}")
    return (await kube.list(NAMESPACE, selection, project=ObjectRef.of)).items


async def give_up(kube: Kube, namespace: ObjectRef) -> str:
    """Delete a namespace if nothing is in it; say why it stays, empty if it does not.

    Deleting a namespace deletes what is in it: one that cannot be seen to be empty stays.
    """
    if why := await _why_not_empty(kube, namespace.name):
        return why
    try:
        await kube.delete(namespace)
    except Refused:
        return "it is empty, and may not be deleted with the rights at hand"
    return ""


async def _why_not_empty(kube: Kube, namespace: str) -> str:
    """Name one object that somebody would miss, or a kind that may not be seen; empty if there is neither."""
    for kind in await kube.namespaced_kinds():
        if kind.kind in _ECHOES:
            continue
        try:
            listing: Listing[ObjectRef] = await kube.list(kind, Selection(namespace), project=ObjectRef.of)
        except (KindNotServed, NotFound):  # its definition has gone since
            continue
        except Refused:
            return f"whether it is empty cannot be seen without the right to list each {kind.kind}"
        for ref in listing.items:
            if (ref.kind.kind, ref.name) not in _NATIVE:
                return f"{ref} is in it"
    return ""
