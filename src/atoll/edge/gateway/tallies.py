"""Counts of each Stream that the gateway reports beside what its outbox counts. They outlive a restart."""

import json
from dataclasses import asdict, dataclass

from atoll.edge.gateway.memory import Memory, StreamKey

_KIND, _NAME = "tally", "counts"
_LONGEST_REASON = 500


@dataclass
class Tally:
    """One Stream's counts since the outbox was made."""

    malformed: int = 0
    refused: int = 0
    last_refusal: str = ""
    clock_fallbacks: int = 0
    sequence_gaps: int = 0
    rebirths: int = 0


class Tallies:
    """The counts of all Streams."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._tallies = {stream: Tally(**json.loads(value)) for stream, _, value in memory.facts(_KIND)}
        self._changed: set[StreamKey] = set()

    def of(self, stream: StreamKey) -> Tally:
        """Give a Stream's counts, to be read."""
        return self._tallies.get(stream, Tally())

    def change(self, stream: StreamKey) -> Tally:
        """Give a Stream's counts, to be changed now."""
        self._changed.add(stream)
        return self._tallies.setdefault(stream, Tally())

    def refuse(self, stream: StreamKey, reason: str) -> None:
        """Count a reading that was refused."""
        tally = self.change(stream)
        tally.refused += 1
        tally.last_refusal = reason[:_LONGEST_REASON]

    def keep(self) -> None:
        """Make what has changed part of the memory."""
        for stream in self._changed:
            self._memory.keep(_KIND, stream, _NAME, json.dumps(asdict(self._tallies[stream])))
        self._changed.clear()
