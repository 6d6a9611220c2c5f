"""What one Stream adds to one version and is not committed yet: encoded, counted, and held. Pure.

Owns which file takes a reading: by topic where files grow, else by partition and by whether it is late. Must not know
where files are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from atoll.edge.sink.arrival import Arrival
from atoll.edge.sink.columns import ColumnKind
from atoll.edge.sink.filing import Filed
from atoll.edge.sink.form import Form
from atoll.edge.sink.index import Placed
from atoll.edge.sink.intervals import FeedGrowth, spans_of
from atoll.edge.sink.lines import encode_lines, line_sizes
from atoll.edge.sink.names import WINDOW_NS, window_name
from atoll.edge.sink.readings import Readings, joined
from atoll.edge.sink.segments import Held, HeldLines, HeldTable, SegmentKey
from atoll.federation.bus.envelope import Envelope
from atoll.federation.resources.stream_layout import StreamFormat


class SourceKey(NamedTuple):
    """What the readings of a file that grows have in common. `window` is the folder of their partition."""

    gateway: str
    stream: str
    topic: str
    format: StreamFormat
    window: str = ""


class Added(NamedTuple):
    """Readings of one outbox for one file that grows: their bytes, and where each lies in them."""

    outbox: str
    placed: Placed
    data: bytes


class LooseKey(NamedTuple):
    """What readings have in common that are for files that grow, but for their topic."""

    outbox: str
    window: str
    form: Form


class _Group(NamedTuple):
    window: str
    is_late: bool
    readings: Readings


@dataclass
class Growth:
    """Grows until it is committed. `began` is when its first arrival came, by the caller's clock."""

    gateway: str
    stream: str
    began: float
    form: Form
    known: dict[str, ColumnKind]  # columns that this Stream has had in this version
    newest_ns: int = 0
    loose: dict[LooseKey, list[Readings]] = field(default_factory=dict)
    held: dict[SegmentKey, Held] = field(default_factory=dict)
    files: list[Arrival] = field(default_factory=list)
    filed: list[list[Filed]] = field(default_factory=list)  # of the first `files`, once they are in their places
    marks: dict[str, int] = field(default_factory=dict)
    feeds: dict[str, FeedGrowth] = field(default_factory=dict)
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)  # topic → readings and bytes in segments
    late: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    is_ended: bool = False

    @property
    def size(self) -> int:
        """What is held back, in bytes, about."""
        return sum(held.size for held in self.held.values())

    def is_due(self, now: float) -> bool:
        """Tell whether it is to be committed: what need not be held back is so at once."""
        is_urgent = bool(self.loose or self.files or self.is_ended or not self.form.is_sealed)
        return is_urgent or self.form.roll_due(self.size, now - self.began)

    def take(self, arrival: Arrival) -> None:
        """Add an envelope that is new to the version."""
        envelope, feed = arrival.envelope, self.feeds.setdefault(arrival.envelope.outbox, FeedGrowth())
        self.form = arrival.form
        for lost in arrival.absent:
            other = self.feeds.setdefault(lost.outbox, FeedGrowth())
            (other.shed if lost.is_shed else other.gaps).append((lost.first, lost.last))
        feed.duplicates += arrival.repeated
        if envelope.holds_files:
            self.files.append(arrival)
        elif envelope.readings:
            self._take_readings(envelope, arrival.form)
            feed.received += spans_of(envelope.numbers)
        self.is_ended = self.is_ended or envelope.end_of_run
        self.marks[envelope.outbox] = envelope.number

    def _take_readings(self, envelope: Envelope, form: Form) -> None:
        readings = Readings.of(envelope)
        for group in _groups(readings, form, self.newest_ns):
            if form.is_sealed:
                self._hold(envelope.outbox, group, form)
            else:
                self.loose.setdefault(LooseKey(envelope.outbox, group.window, form), []).append(group.readings)
        # A clock that runs ahead must not make late what comes after it: nothing is newer than when it arrived.
        received = readings.received_ns
        first_ns, last_ns = int(received.min()), int(received.max())
        newest_ns = int(np.minimum(readings.at_ns, received).max()) if readings.have_own_times else last_ns
        self.newest_ns = max(self.newest_ns, newest_ns)
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)

    def _hold(self, outbox: str, group: _Group, form: Form) -> None:
        key = SegmentKey(self.gateway, self.stream, outbox, group.window, group.is_late)
        held = self.held.get(key)
        if held is None:
            facts = {"atoll.gateway": self.gateway, "atoll.stream": self.stream, "atoll.outbox": outbox}
            held = HeldTable(form, facts, self.known) if form.format == "parquet" else HeldLines()
            self.held[key] = held
        readings = group.readings
        held.add(readings)
        self.late += len(readings) if group.is_late else 0
        topics = len(readings.topics)
        counts = np.bincount(readings.topic_of, minlength=topics).tolist()
        sizes = np.bincount(readings.topic_of, readings.sizes, topics).astype(np.int64).tolist()
        for topic, more, size in zip(readings.topics, counts, sizes, strict=True):
            if more:
                count, before = self.rows.get(topic, (0, 0))
                self.rows[topic] = count + more, before + size

    def appends(self) -> Iterator[tuple[SourceKey, Form, Added]]:
        """Give what is added to each file that grows; the same each time until something is taken."""
        for (outbox, window, form), parts in self.loose.items():
            for topic, readings in joined(parts).by_topic():
                key = SourceKey(self.gateway, self.stream, topic, form.format, window)
                data = b"".join(readings.payloads) if form.format == "raw" else encode_lines(readings)
                sizes = readings.sizes if form.format == "raw" else line_sizes(data)
                yield key, form, Added(outbox, Placed(readings.numbers, readings.received_ns, sizes), data)


def _groups(readings: Readings, form: Form, newest_ns: int) -> Iterable[_Group]:
    """Divide readings by partition, and by whether they are late where that makes another file."""
    width, oldest = WINDOW_NS[form.partitions], newest_ns - form.lateness_ns if form.is_sealed else None
    if not width and (oldest is None or readings.at_ns.min() >= oldest):
        return [_Group("", False, readings)]
    is_late = readings.at_ns < oldest if oldest is not None else np.zeros(len(readings), bool)
    windows = readings.at_ns // width * width if width else np.zeros_like(readings.at_ns)
    found: dict[tuple[int, bool], list[int]] = {}
    for place, key in enumerate(zip(windows.tolist(), is_late.tolist(), strict=True)):
        found.setdefault(key, []).append(place)
    return [
        _Group(window_name(form.partitions, start), late, readings.some(np.array(places)))
        for (start, late), places in found.items()
    ]
