"""Namespaces of the cluster: made where an order needs one, labelled as ours, given up when empty.

A namespace that was there before is nobody's to change. It must not know what orders are for.
"""

from typing import Protocol

from atoll.edge.member.errors import KindNotServed, Refused
from atoll.edge.member.kube import Kube, Listing
from atoll.edge.member.objects import Kind, Object, ObjectRef, Selection, with_labels
from atoll.federation.errors import NotFound

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

    async def server_side_apply(self, manifest: Object, *, strict: bool = False) -> Object:
        """Make the object hold what the manifest says."""
        ...


async def apply(kube: Applier, manifest: Object) -> Object:
    """Apply one manifest of an order; a Namespace only where it is missing, and then with our label."""
    ref = ObjectRef.of(manifest)
    if ref.kind != NAMESPACE:
        return await kube.server_side_apply(manifest, strict=True)
    found = await kube.get(ref)
    return found or await kube.server_side_apply(with_labels(manifest, {MADE_LABEL: MADE}), strict=True)


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
