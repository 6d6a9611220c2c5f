"""What the intake hands to the outbox: drafts of envelopes, and what else belongs into the same commit. Pure data."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.runs import OpenDataset
from atoll.edge.gateway.sparkplug_nodes import Command
from atoll.federation.bus.envelope import MAX_PAYLOAD_BYTES, MAX_READINGS, Reading


class Message(NamedTuple):
    """One MQTT message. `packet_id` is 0 at QoS 0; `connection` numbers the connections of this process.

    `properties` are the user properties of MQTT 5.
    """

    connection: int
    packet_id: int
    topic: str
    payload: bytes
    is_duplicate: bool
    is_retained: bool
    received_at_ns: int
    properties: tuple[tuple[str, str], ...] = ()


@dataclass
class Draft:
    """An envelope that has no number yet."""

    stream: StreamKey
    dataset: str
    readings: list[Reading] = field(default_factory=list)
    payload_bytes: int = 0
    end_of_run: bool = False
    holds_files: bool = False

    def has_room(self, size: int) -> bool:
        """Tell whether a payload of `size` bytes still fits."""
        return not self.readings or (
            len(self.readings) < MAX_READINGS and self.payload_bytes + size <= MAX_PAYLOAD_BYTES
        )


@dataclass
class Packed:
    """A batch, decided: what to store, and what was left out and why.

    `packets` are records of `recent.PACKET_BYTES` each, `memory` facts that changed (None: one that is no more),
    `ended` the Streams whose end of a run was said by a message, `announcements` what messages say of files,
    `commands` what is to be published.
    """

    drafts: list[Draft] = field(default_factory=list)
    packets: bytes = b""
    opened: list[OpenDataset] = field(default_factory=list)
    closed: list[OpenDataset] = field(default_factory=list)
    duplicates: Counter[StreamKey] = field(default_factory=Counter)
    memory: dict[str, str | None] = field(default_factory=dict)
    ended: list[StreamKey] = field(default_factory=list)
    announcements: list[tuple[StreamKey, bytes]] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    retained: int = 0
    unmatched: int = 0
    refused: list[str] = field(default_factory=list)

    @property
    def is_to_store(self) -> bool:
        """Whether anything must be on disk before the messages are acknowledged."""
        return bool(self.drafts or self.packets or self.duplicates or self.memory or self.closed)

    def packet_blob(self) -> bytes:
        """Give the records of the packets."""
        return self.packets
