"""The objects of runs as they are in the cluster, and patches of one that hold for the state that was read only.

Owns what counts as a run's own: its label, and its epoch. It must not decide what becomes of them.
"""

from collections.abc import Mapping
from typing import Any

from atoll.edge.member.errors import KindNotServed
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import POD, Object, ObjectRef, Selection
from atoll.edge.member.ordered import belongs, epoch_of
from atoll.federation.bus.messages import RunOrder


class RunObjects:
    """Reads them."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def get(self, ref: ObjectRef) -> Object | None:
        """Read an object, whoever's it is; None if it is not there."""
        try:
            return await self._kube.get(ref)
        except KindNotServed:  # its CRD was deleted, and all objects with it
            return None

    async def live(self, ref: ObjectRef, order: RunOrder) -> Object | None:
        """Read an object of this very epoch of a run."""
        live = await self.get(ref)
        is_own = live is not None and belongs(live, order.run) and epoch_of(live) == order.epoch
        return live if is_own else None

    async def pods(self, selection: Selection) -> list[Object]:
        """Read pods, whole."""
        return (await self._kube.list(POD, selection, project=lambda pod: pod)).items


def guarded(live: Object) -> Object:
    """Begin a patch that holds for this state of an object only."""
    return {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"], "uid": live["metadata"]["uid"]}}


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """Give the merge patch that makes one mapping of another: null takes a field away, lists are replaced whole."""
    changed = {key: _change(old.get(key), value) for key, value in new.items() if old.get(key) != value}
    return changed | dict.fromkeys(old.keys() - new.keys())


def _change(old: Any, new: Any) -> Any:
    return difference(old, new) if isinstance(old, Mapping) and isinstance(new, Mapping) else new
