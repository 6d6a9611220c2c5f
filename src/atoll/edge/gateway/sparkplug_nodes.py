"""What is known of Sparkplug B edge nodes: births, aliases, sequence numbers. Pure.

Owns the state of each node of each Stream, which outlives a restart, and the decision to ask a node for its rebirth.
Sparkplug's data come at QoS 0 by specification, so what was lost on the way to the gateway can be counted, by the gap
in the sequence, but not got again.
"""

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from atoll.edge.gateway.memory import Memory, StreamKey
from atoll.federation.payloads.sparkplug import KnownMetric, Outline, births, outline, rebirth_command, with_names

_SEQUENCE, _BIRTHS = "sparkplug-sequence", "sparkplug-births"
_READINGS = frozenset({"NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH"})
_SEQUENCE_SIZE = 256
# A node answers a rebirth with all of its metrics: asked again before it could, it would do nothing else.
_ASK_AGAIN_NS = 10_000_000_000


class Command(NamedTuple):
    """A message that the gateway is to publish."""

    topic: str
    payload: bytes


class NodeReading(NamedTuple):
    """A node's message as it is stored, and what was found out about it."""

    payload: bytes
    outline: Outline
    is_gap: bool
    command: Command | None


class _Address(NamedTuple):
    group: str
    kind: str
    node: str

    @classmethod
    def parse(cls, topic: str) -> "_Address | None":
        levels = topic.split("/")
        if len(levels) not in (4, 5) or levels[2] not in _READINGS:
            return None
        return cls(levels[1], levels[2], levels[3])

    @property
    def key(self) -> str:
        return f"{self.group}/{self.node}"


@dataclass
class _Node:
    """`sequence` is the last number; None before the first and after a death."""

    sequence: int | None = None
    birth: int | None = None
    is_born: bool = False
    aliases: dict[int, KnownMetric] = field(default_factory=dict)
    asked_at_ns: int = -_ASK_AGAIN_NS


class Nodes:
    """The edge nodes of all Streams."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._nodes: dict[tuple[StreamKey, str], _Node] = {}
        for stream, key, value in memory.facts(_BIRTHS):
            birth, metrics = json.loads(value)
            aliases = {int(alias): KnownMetric(*metric) for alias, metric in metrics.items()}
            self._nodes[stream, key] = _Node(birth=birth, is_born=True, aliases=aliases)
        for stream, key, value in memory.facts(_SEQUENCE):
            self._nodes.setdefault((stream, key), _Node()).sequence = int(value)

    def read(self, stream: StreamKey, topic: str, payload: bytes, *, now_ns: int, may_ask: bool) -> NodeReading | None:
        """Take a message into account; None if its topic is none of a node's own messages (a command, a host's state).

        Raises:
            MalformedPayload: it is no Sparkplug B payload. Its sequence number will be missed with the next message.
        """
        address = _Address.parse(topic)
        if address is None:
            return None
        read = outline(payload)
        node = self._nodes.setdefault((stream, address.key), _Node())
        is_gap = self._follow(stream, address, node, read)
        stored, is_whole = payload, True
        if address.kind in ("NBIRTH", "DBIRTH"):
            if address.kind == "NBIRTH":
                node.birth = read.birth
            self._be_born(stream, address, node, births(payload))
        elif read.seq is not None:
            stored, is_whole = with_names(payload, node.aliases)
        is_lost = is_gap or not is_whole or (read.seq is not None and not node.is_born)
        command = self._ask(address, node, now_ns) if may_ask and is_lost else None
        return NodeReading(stored, read, is_gap, command)

    def _follow(self, stream: StreamKey, address: _Address, node: _Node, read: Outline) -> bool:
        """Count on from the last number; tell whether some are missing."""
        before = node.sequence
        if address.kind == "NDEATH" and read.birth is not None and node.birth not in (None, read.birth):
            return False  # the last will of an earlier connection, which the broker gave up only now
        if address.kind == "NDEATH":
            node.sequence = None
            self._memory.drop(_SEQUENCE, stream, address.key)
            return False
        if read.seq is None:
            return False
        node.sequence = read.seq
        self._memory.keep(_SEQUENCE, stream, address.key, str(read.seq))
        # A birth of the node begins the sequence anew (Sparkplug 3.0, 6.4.7).
        return before is not None and address.kind != "NBIRTH" and read.seq != (before + 1) % _SEQUENCE_SIZE

    def _be_born(self, stream: StreamKey, address: _Address, node: _Node, declared: dict[int, KnownMetric]) -> None:
        node.aliases = declared if address.kind == "NBIRTH" else node.aliases | declared
        if address.kind == "NBIRTH":
            node.is_born, node.asked_at_ns = True, -_ASK_AGAIN_NS
        self._memory.keep(_BIRTHS, stream, address.key, json.dumps((node.birth, node.aliases)))

    @staticmethod
    def _ask(address: _Address, node: _Node, now_ns: int) -> Command | None:
        if now_ns - node.asked_at_ns < _ASK_AGAIN_NS:
            return None
        node.asked_at_ns = now_ns
        topic = f"spBv1.0/{address.group}/NCMD/{address.node}"
        return Command(topic, rebirth_command(now_ns // 1_000_000))
