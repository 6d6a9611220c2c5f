"""A packer whose process can be restarted: what a batch gave to be stored is what it begins with."""

from typing import Any

from datapath import stream_order

from atoll.edge.gateway.drafts import Message, Packed
from atoll.edge.gateway.memory import Memory
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
from atoll.edge.gateway.runs import OpenDataset

NOON_NS = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
SECOND_NS = 1_000_000_000


def message(topic: str, payload: bytes = b"1", **flags: Any) -> Message:
    """Make a message that arrived at noon, unless `at` says otherwise."""
    return Message(
        1,
        flags.get("packet_id", 0),
        topic,
        payload,
        flags.get("dup", False),
        flags.get("retained", False),
        flags.get("at", NOON_NS),
        tuple(flags.get("properties", {}).items()),
    )


class Bench:
    """A packer of one Stream with its storage."""

    def __init__(self, **stream: Any) -> None:
        self.order = stream_order(**({"end_of_run": None} | stream))
        self._stored: dict[str, str] = {}
        self._opened: dict[OpenDataset, None] = {}
        self.restart()

    def restart(self) -> None:
        """Begin again from what was stored."""
        self.packer = Packer(
            (self.order,), recent=RecentPackets(), opened=list(self._opened), memory=Memory(dict(self._stored))
        )

    def take(self, *messages: Message, now: float = 0.0) -> Packed:
        """Pack a batch and store it."""
        return self._store(self.packer.pack(messages, now=now))

    def silence(self, now: float) -> Packed:
        """Let time pass without a message."""
        return self._store(self.packer.expire(now=now))

    def _store(self, packed: Packed) -> Packed:
        for key, value in packed.memory.items():
            if value is None:
                self._stored.pop(key, None)
            else:
                self._stored[key] = value
        for item in packed.closed:
            self._opened.pop(item, None)
        self._opened |= dict.fromkeys(packed.opened)
        return packed

    @property
    def tally(self) -> Any:
        """The Stream's counts."""
        key = next(iter(self.packer._plans)).key
        return self.packer.tallies.of(key)


def content(packed: Packed) -> list[tuple[str, list[bytes], bool]]:
    """Give dataset, payloads and end of each draft."""
    return [
        (draft.dataset, [reading.payload for reading in draft.readings], draft.end_of_run) for draft in packed.drafts
    ]
