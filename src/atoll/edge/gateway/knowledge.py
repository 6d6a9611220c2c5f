"""What is known beyond a batch of messages, put together. Pure."""

from collections.abc import Iterable

from atoll.edge.gateway.memory import Memory, StreamKey
from atoll.edge.gateway.naming import Names
from atoll.edge.gateway.recent import RecentPackets
from atoll.edge.gateway.runs import OpenDataset, Runs
from atoll.edge.gateway.sparkplug_nodes import Nodes
from atoll.edge.gateway.tallies import Tallies


class Knowledge:
    """What is known beyond a batch."""

    def __init__(self, memory: Memory, recent: RecentPackets, opened: Iterable[OpenDataset]) -> None:
        self.memory, self.recent = memory, recent
        self.tallies = Tallies(memory)
        self.runs = Runs(memory, opened)
        self.names = Names(memory)
        self.nodes = Nodes(memory)
        # Names that were made and claimed, by what they were made of and the hour; the templates are those of now.
        self.datasets: dict[tuple[StreamKey, tuple[str, ...], int], str] = {}
