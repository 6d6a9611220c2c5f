"""The kinds whose objects are followed because runs are made of them: each from when an order first names it.

Owns the informers, so that a cluster that runs plain Jobs pays for no other kind. It must not know what a run is.
"""

import asyncio
from collections.abc import Callable, Iterable

from atoll.edge.member.informer import Informer, Source
from atoll.edge.member.objects import RUN_LABEL, Kind, Object, Selection


class Followed:
    """Live copies, of which only the names are kept, and whether the object says anything yet."""

    def __init__(self, source: Source, *, on_change: Callable[[str], None], on_list: Callable[[], None]) -> None:
        """Call `on_change` with the key of each object that changed, `on_list` where changes may have been missed."""
        self._source, self._on_change, self._on_list = source, on_change, on_list
        self._known: set[Kind] = set()
        self._new: asyncio.Queue[Kind] = asyncio.Queue()

    def add(self, kinds: Iterable[Kind]) -> None:
        """Follow these kinds from now on."""
        for kind in kinds:
            if kind not in self._known:
                self._known.add(kind)
                self._new.put_nowait(kind)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                kind = await self._new.get()
                group.create_task(self._informer(kind).run(), name=f"follow-{kind.kind}")

    def _informer(self, kind: Kind) -> Informer[bool]:
        selection = Selection(label_selector=RUN_LABEL)
        informer = Informer(self._source, kind, project=_has_begun, selection=selection)

        def on_change(key: str) -> None:
            if informer.items.get(key, True):
                self._on_change(key)

        informer.on_change(on_change)
        informer.on_list(self._on_list)
        return informer


def _has_begun(obj: Object) -> bool:
    """Tell whether anybody has touched an object since it was made: until then there is nothing to be read of it."""
    metadata = obj["metadata"]
    return bool(obj.get("status")) or metadata.get("generation") != 1 or "deletionTimestamp" in metadata
