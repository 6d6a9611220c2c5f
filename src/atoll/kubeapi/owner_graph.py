"""Who belongs to whom: the graph of owner references, and what it says should be collected.

Owns the graph and the decision for one object; must not read or write the store.
Source: Kubernetes documentation "Garbage Collection", cascading deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.kubeapi.deletion import FOREGROUND, ORPHAN
from atoll.kubeapi.resource import Object, ResourceType


@dataclass(frozen=True)
class Owner:
    """One owner reference."""

    uid: str
    group: str
    kind: str
    name: str
    blocks: bool = False  # whether a foreground deletion of the owner waits for the dependent

    @classmethod
    def of(cls, reference: Mapping[str, Any]) -> Owner:
        """Read a reference; what is missing is empty."""
        group = str(reference.get("apiVersion", "")).rpartition("/")[0]
        blocks = bool(reference.get("blockOwnerDeletion"))
        return cls(
            str(reference.get("uid", "")), group, str(reference.get("kind", "")), str(reference.get("name", "")), blocks
        )


@dataclass(frozen=True)
class Node:
    """One object as far as collecting it is concerned."""

    rt: ResourceType
    namespace: str | None
    name: str
    uid: str
    owners: tuple[Owner, ...] = ()
    finalizers: frozenset[str] = frozenset()
    is_deleting: bool = False

    @classmethod
    def of(cls, rt: ResourceType, obj: Object) -> Node:
        """Read an object."""
        metadata = obj["metadata"]
        owners = tuple(Owner.of(reference) for reference in metadata.get("ownerReferences") or ())
        finalizers = frozenset(metadata.get("finalizers") or ())
        is_deleting = "deletionTimestamp" in metadata
        return cls(
            rt,
            metadata.get("namespace"),
            metadata["name"],
            metadata["uid"],
            owners,
            finalizers,
            is_deleting=is_deleting,
        )

    @property
    def waits_to_orphan(self) -> bool:
        """True while its dependents must be set free before it goes."""
        return self.is_deleting and ORPHAN in self.finalizers

    @property
    def waits_for_dependents(self) -> bool:
        """True while its blocking dependents must go before it."""
        return self.is_deleting and FOREGROUND in self.finalizers


class OwnerGraph:
    """All nodes, by uid, and the edges from owners to dependents."""

    def __init__(self) -> None:
        """Start empty."""
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def get(self, uid: str) -> Node | None:
        """Return a node, or None."""
        return self._nodes.get(uid)

    def put(self, node: Node) -> set[str]:
        """Take in a node as it is now; return the uids for which this may matter."""
        touched = self.drop(node.uid) if node.uid in self._nodes else set()
        self._nodes[node.uid] = node
        for owner in node.owners:
            self._dependents.setdefault(owner.uid, set()).add(node.uid)
        return touched | {node.uid} | {owner.uid for owner in node.owners}

    def drop(self, uid: str) -> set[str]:
        """Forget a node; return the uids for which this may matter."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return set()
        for owner in node.owners:
            below = self._dependents.get(owner.uid, set())
            below.discard(uid)
            if not below:
                self._dependents.pop(owner.uid, None)
        return {owner.uid for owner in node.owners} | self._dependents.get(uid, set())

    def of_type(self, rt: ResourceType) -> Iterable[Node]:
        """Return the nodes of one resource type."""
        return [node for node in self._nodes.values() if node.rt is rt]

    def dependents(self, uid: str) -> list[Node]:
        """Return the objects that name `uid` as an owner."""
        return [self._nodes[below] for below in sorted(self._dependents.get(uid, ()))]

    def blockers(self, uid: str) -> list[Node]:
        """Return the dependents that hold up a foreground deletion of `uid`."""
        return [
            node for node in self.dependents(uid) if any(owner.uid == uid and owner.blocks for owner in node.owners)
        ]
