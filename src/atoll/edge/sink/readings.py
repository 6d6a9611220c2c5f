"""Readings by column, as the sink works on them: a row in Python for each costs more than writing it. Pure.

Owns how an envelope becomes columns, and how columns are chosen from, joined and divided by topic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Self

import numpy as np

from atoll.edge.sink.index import Numbers
from atoll.federation.bus.envelope import Envelope
from atoll.federation.bus.envelope_rows import NO_TIME, packed


@dataclass(frozen=True)
class Readings:
    """Some readings of one outbox, in order.

    `numbers` are those in their Stream, `at_ns` is the own time of each, or when it was received. `topic_of` counts
    into `topics`.
    """

    numbers: Numbers
    received_ns: Numbers
    at_ns: Numbers
    topics: Sequence[str]
    topic_of: Numbers
    payloads: Sequence[bytes]

    @classmethod
    def of(cls, envelope: Envelope) -> Self:
        """Read those of an envelope."""
        rows, numbers = packed(envelope.readings), envelope.numbers
        received_ns = at_ns = np.frombuffer(rows.received_ns, "<i8")
        if rows.at_ns is not None:
            own_ns = np.frombuffer(rows.at_ns, "<i8")
            at_ns = np.where(own_ns == NO_TIME, received_ns, own_ns)
        numbered = np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64)
        return cls(numbered, received_ns, at_ns, rows.topics, np.frombuffer(rows.topic_of, "<u2"), rows.payloads)

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def have_own_times(self) -> bool:
        """Whether any was taken at another time than that of its arrival."""
        return self.at_ns is not self.received_ns

    @property
    def sizes(self) -> Numbers:
        """Bytes of each payload."""
        return np.fromiter(map(len, self.payloads), np.int64, len(self.payloads))

    def some(self, places: Numbers) -> "Readings":
        """Give those at these places."""
        received_ns = self.received_ns[places]
        return Readings(
            self.numbers[places],
            received_ns,
            self.at_ns[places] if self.have_own_times else received_ns,
            self.topics,
            self.topic_of[places],
            list(map(self.payloads.__getitem__, places.tolist())),
        )

    def by_topic(self) -> Iterator[tuple[str, "Readings"]]:
        """Give those of each topic, in their order."""
        if len(self.topics) == 1:
            yield self.topics[0], self
            return
        ordered = self.some(np.argsort(self.topic_of, kind="stable"))
        edges = np.searchsorted(ordered.topic_of, range(len(self.topics) + 1)).tolist()
        for topic, (start, end) in zip(self.topics, pairwise(edges), strict=True):
            if start < end:
                yield topic, ordered._between(topic, start, end)

    def _between(self, topic: str, start: int, end: int) -> "Readings":
        received_ns = self.received_ns[start:end]
        return Readings(
            self.numbers[start:end],
            received_ns,
            self.at_ns[start:end] if self.have_own_times else received_ns,
            (topic,),
            np.zeros(end - start, np.uint16),
            self.payloads[start:end],
        )


def joined(parts: Sequence[Readings]) -> Readings:
    """Give the readings of all parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    topics = dict.fromkeys(chain.from_iterable(part.topics for part in parts))
    place_of = {topic: place for place, topic in enumerate(topics)}
    # Of 16 bits numpy sorts by counting; more topics than that are sorted all the same.
    kind = np.min_scalar_type(len(topics))
    places = np.array([place_of[topic] for part in parts for topic in part.topics], kind)
    before = np.cumsum([0, *(len(part.topics) for part in parts[:-1])])
    counted = np.concatenate([part.topic_of for part in parts]) + np.repeat(before, [len(part) for part in parts])
    received_ns = np.concatenate([part.received_ns for part in parts])
    have_own_times = any(part.have_own_times for part in parts)
    return Readings(
        np.concatenate([part.numbers for part in parts]),
        received_ns,
        np.concatenate([part.at_ns for part in parts]) if have_own_times else received_ns,
        tuple(topics),
        places[counted],
        list(chain.from_iterable(part.payloads for part in parts)),
    )
