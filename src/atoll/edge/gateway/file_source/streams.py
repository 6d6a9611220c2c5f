"""The Streams of a gateway that have files: where each one's folder is, and how fast its files may go. In memory."""

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from atoll.edge.gateway.file_source.pace import Link, Pace
from atoll.edge.gateway.file_source.roots import Roots
from atoll.edge.gateway.memory import StreamKey
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.stream_files import FileSource


class FileStreams:
    """What is ordered now. `are_any` is set while there is a Stream with files."""

    def __init__(self, roots: Roots, link: Link | None = None) -> None:
        self.roots, self._link = roots, link
        self.orders: dict[StreamKey, StreamOrder] = {}
        self.are_any = asyncio.Event()
        self._paces: dict[StreamKey, Pace] = {}

    def follow(self, streams: Iterable[StreamOrder]) -> set[StreamKey]:
        """Take these as the whole list from now on; give those that are other ones than before, or are no more."""
        orders = {StreamKey(order.namespace, order.name): order for order in streams if order.spec.files is not None}
        changed = {key for key, old in self.orders.items() if key not in orders or orders[key].spec != old.spec}
        self.orders = orders
        if orders:
            self.are_any.set()
        else:
            self.are_any.clear()
        return changed

    def rule(self, key: StreamKey) -> FileSource | None:
        """Give what a Stream says of its files; None if it is no more."""
        order = self.orders.get(key)
        return order.spec.files if order is not None else None

    def place(self, key: StreamKey) -> tuple[Path, FileSource] | None:
        """Give the root and the rule of a Stream; None if it is no more, or this gateway may not read its folder."""
        rule = self.rule(key)
        if rule is None:
            return None
        try:
            return self.roots.find(rule), rule
        except InvalidInput:
            return None

    def pace(self, key: StreamKey) -> Pace:
        """Give the pace of a Stream's files."""
        return self._paces.setdefault(key, Pace(partial(self._limit, key), self._link))

    def _limit(self, key: StreamKey) -> int | None:
        rule = self.rule(key)
        return rule.bytes_per_second if rule is not None else None
