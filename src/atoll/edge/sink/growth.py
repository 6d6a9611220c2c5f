"""What one Stream adds to one version and is not committed yet: encoded, counted, and held. Pure.

Owns which file takes a reading: by topic where files grow, else by partition and by whether it is late. Must not know
where files are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from atoll.edge.sink.arrival import Arrival
from atoll.edge.sink.columns import ColumnKind
from atoll.edge.sink.filing import Filed
from atoll.edge.sink.form import Form
from atoll.edge.sink.intervals import FeedGrowth, spans_of
from atoll.edge.sink.lines import encode_lines
from atoll.edge.sink.names import WINDOW_NS, window_name
from atoll.edge.sink.segments import Held, HeldLines, HeldTable, SegmentKey
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.resources.stream_layout import StreamFormat


class SourceKey(NamedTuple):
    """What the readings of a file that grows have in common. `window` is the folder of their partition."""

    gateway: str
    stream: str
    topic: str
    format: StreamFormat
    window: str = ""


class Added(NamedTuple):
    """Readings of one outbox for one file that grows."""

    outbox: str
    numbers: list[int]
    received_ns: list[int]
    pieces: list[bytes]


class _Group(NamedTuple):
    window: str
    is_late: bool
    readings: Sequence[Reading]
    numbers: Sequence[int]


@dataclass
class Growth:
    """Grows until it is committed. `began` is when its first arrival came, by the caller's clock."""

    gateway: str
    stream: str
    began: float
    form: Form
    known: dict[str, ColumnKind]  # columns that this Stream has had in this version
    newest_ns: int = 0
    appends: dict[SourceKey, list[Added]] = field(default_factory=dict)
    held: dict[SegmentKey, Held] = field(default_factory=dict)
    files: list[Arrival] = field(default_factory=list)
    filed: list[list[Filed]] = field(default_factory=list)  # of the first `files`, once they are in their places
    rolls: dict[SourceKey, Form] = field(default_factory=dict)
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
        is_urgent = bool(self.appends or self.files or self.is_ended or not self.form.is_sealed)
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
        received, _, _, own = zip(*envelope.readings, strict=True)
        has_own = own.count(None) < len(own)
        times = [at if mine is None else mine for at, mine in zip(received, own, strict=True)] if has_own else received
        for group in _groups(envelope, times, form, self.newest_ns):
            if form.is_sealed:
                self._hold(envelope.outbox, group, form)
            else:
                self._append(envelope.outbox, group, form)
        # A clock that runs ahead must not make late what comes after it: nothing is newer than when it arrived.
        newest = max(map(min, times, received)) if has_own else max(received)
        self.newest_ns = max(self.newest_ns, newest)
        self.first_ns = min(received) if self.first_ns is None else min(self.first_ns, *received)
        self.last_ns = max(received) if self.last_ns is None else max(self.last_ns, *received)

    def _hold(self, outbox: str, group: _Group, form: Form) -> None:
        key = SegmentKey(self.gateway, self.stream, outbox, group.window, group.is_late)
        held = self.held.get(key)
        if held is None:
            facts = {"atoll.gateway": self.gateway, "atoll.stream": self.stream, "atoll.outbox": outbox}
            held = HeldTable(form, facts, self.known) if form.format == "parquet" else HeldLines()
            self.held[key] = held
        held.add(group.readings, group.numbers)
        self.late += len(group.readings) if group.is_late else 0
        for _, topic, payload, _ in group.readings:
            count, size = self.rows.get(topic, (0, 0))
            self.rows[topic] = count + 1, size + len(payload)

    def _append(self, outbox: str, group: _Group, form: Form) -> None:
        received, topics, payloads, _ = zip(*group.readings, strict=True)
        pieces = payloads if form.format == "raw" else encode_lines(group.readings, group.numbers)
        keys = {topic: SourceKey(self.gateway, self.stream, topic, form.format, group.window) for topic in set(topics)}
        added = {topic: self._added(key, outbox, form) for topic, key in keys.items()}
        if len(added) == 1:
            part = added[topics[0]]
            part.numbers.extend(group.numbers)
            part.received_ns.extend(received)
            part.pieces.extend(pieces)
            return
        for topic, number, received_ns, piece in zip(topics, group.numbers, received, pieces, strict=True):
            part = added[topic]
            part.numbers.append(number)
            part.received_ns.append(received_ns)
            part.pieces.append(piece)

    def _added(self, key: SourceKey, outbox: str, form: Form) -> Added:
        """Give what is added to a file; readings of another outbox make another part."""
        self.rolls[key] = form
        parts = self.appends.setdefault(key, [])
        if not parts or parts[-1].outbox != outbox:
            parts.append(Added(outbox, [], [], []))
        return parts[-1]


def _groups(envelope: Envelope, times: Sequence[int], form: Form, newest_ns: int) -> Iterable[_Group]:
    """Divide readings by partition, and by whether they are late where that makes another file."""
    width, oldest = WINDOW_NS[form.partitions], newest_ns - form.lateness_ns if form.is_sealed else None
    readings, numbers = envelope.readings, envelope.numbers
    if not width and (oldest is None or min(times) >= oldest):
        return [_Group("", False, readings, numbers)]
    found: dict[tuple[int, bool], tuple[list[Reading], list[int]]] = {}
    for reading, number, at in zip(readings, numbers, times, strict=True):
        key = (at // width * width if width else 0, oldest is not None and at < oldest)
        group = found.setdefault(key, ([], []))
        group[0].append(reading)
        group[1].append(number)
    return [_Group(window_name(form.partitions, start), is_late, *group) for (start, is_late), group in found.items()]
