"""Which policy set holds which object of the cluster: the first that orders it keeps it. Bookkeeping in memory.

Two sets that both put one object right would write against each other for ever. So one holds it and the others wait.
What its holder orders no more goes, as it stands, to a set that waits for it: at no moment is it gone.
It must not talk to the cluster, and must not decide what a set orders.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable

from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.records import PolicyRecord


class Owners:
    """The holders of policy objects, and which sets order them."""

    def __init__(self, records: Iterable[PolicyRecord]) -> None:
        """Begin with what sets held when the agent was stopped; a set counts as ordering it until it is heard of."""
        self._holders: dict[ObjectRef, str] = {}
        self._ordered: dict[str, frozenset[ObjectRef]] = {}
        self._observed: dict[str, frozenset[ObjectRef]] = {}
        for record in records:
            for entry in record.held:
                self._holders.setdefault(entry.object.ref(), record.name)

    def may_touch(self, name: str, ref: ObjectRef) -> bool:
        """Tell whether an object is not another set's."""
        return self._holders.get(ref, name) == name

    def contested(self, name: str) -> dict[str, list[ObjectRef]]:
        """Give what a set orders and others hold, by who does."""
        found: dict[str, list[ObjectRef]] = defaultdict(list)
        others = (ref for ref in self._ordered.get(name, ()) if not self.may_touch(name, ref))
        for ref in sorted(others, key=str):
            found[self._holders[ref]].append(ref)
        return found

    def concerned(self, kind: Kind, key: str) -> str | None:
        """Name the set that should look when an object changes: who holds it, or else who observes it."""
        namespace, _, name = key.rpartition("/")
        ref = ObjectRef(kind, namespace or None, name)
        observers = (each for each, refs in self._observed.items() if ref in refs)
        return self._holders.get(ref) or next(observers, None)

    def order(self, name: str, refs: Collection[ObjectRef]) -> frozenset[str]:
        """Note all that a set orders to be held now; name the sets that something has gone to, which should look."""
        self._observed.pop(name, None)
        self._ordered[name] = frozenset(refs)
        heirs = {ref: self._heir_of(ref) for ref, holder in self._holders.items() if holder == name and ref not in refs}
        for ref, heir in heirs.items():
            if heir is None:
                del self._holders[ref]
            else:
                self._holders[ref] = heir
        for ref in refs:
            holder = self._holders.get(ref)
            if holder is None or ref not in self._ordered.get(holder, (ref,)):
                self._holders[ref] = name
        return frozenset(filter(None, heirs.values()))

    def observe(self, name: str, refs: Collection[ObjectRef]) -> frozenset[str]:
        """Note what a set only observes: it holds nothing."""
        heirs = self.order(name, ())
        self._observed[name] = frozenset(refs)
        return heirs

    def end(self, name: str) -> frozenset[str]:
        """Forget a set."""
        heirs = self.order(name, ())
        del self._ordered[name]
        return heirs

    def _heir_of(self, ref: ObjectRef) -> str | None:
        return min((each for each, refs in self._ordered.items() if ref in refs), default=None)
