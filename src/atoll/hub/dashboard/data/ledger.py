"""The ledger of a dataset as a ribbon: which of an outbox's readings are in it, which are missing. Pure.

Owns the geometry. A ribbon tells no more than the ledger: where its lists were cut, the ribbon says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from atoll.federation.resources.dataset import FeedLedger, Interval, Ledger

# Elsewhere: numbers in no list, which went into other datasets of the stream. Unlisted: the ledger's list was cut here.
SegmentKind = Literal["received", "gap", "shed", "elsewhere", "unlisted"]
RIBBON_WIDTH = 1000.0
# One lost reading among millions has to be seen: narrower, and it falls between two pixels of a telephone.
_NARROWEST = 6.0


@dataclass(frozen=True)
class Segment:
    """Consecutive numbers of one fate, both ends included, and where they are drawn."""

    kind: SegmentKind
    first: int
    last: int
    x: float = 0.0
    width: float = 0.0

    @property
    def count(self) -> int:
        """How many numbers these are."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Ribbon:
    """One outbox of one stream, from its first number in the dataset to its last."""

    gateway: str
    stream: str
    outbox: str
    received: int
    gaps: int
    shed: int
    duplicates: int
    segments: tuple[Segment, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.gaps == 0 and self.shed == 0


@dataclass(frozen=True)
class Shares:
    """What part of all numbered readings was received, is missing, was shed; together 1 unless there are none."""

    received: float
    gaps: float
    shed: float


def ribbons_of(ledger: Ledger) -> tuple[Ribbon, ...]:
    """Give a ribbon for each outbox, those with something missing first."""
    found = [ribbon_of(feed) for feed in ledger.feeds]
    return tuple(sorted(found, key=lambda ribbon: (ribbon.is_whole, ribbon.gateway, ribbon.stream, ribbon.outbox)))


def ribbon_of(feed: FeedLedger) -> Ribbon:
    """Draw one outbox's line of the ledger."""
    return Ribbon(
        gateway=feed.gateway,
        stream=feed.stream,
        outbox=feed.outbox,
        received=feed.received,
        gaps=feed.gaps,
        shed=feed.shed,
        duplicates=feed.duplicates,
        segments=_placed(tuple(_segments(feed))),
    )


def shares_of(received: int, gaps: int, shed: int) -> Shares:
    """Give the parts of a whole ledger."""
    whole = received + gaps + shed
    return Shares(received / whole, gaps / whole, shed / whole) if whole else Shares(0.0, 0.0, 0.0)


def _segments(feed: FeedLedger) -> Iterator[Segment]:
    listed = sorted(
        [
            *(Segment("received", each.first, each.last) for each in feed.intervals),
            *(Segment("gap", each.first, each.last) for each in feed.gap_intervals),
            *(Segment("shed", each.first, each.last) for each in feed.shed_intervals),
        ],
        key=lambda segment: segment.first,
    )
    cuts = _cuts(feed)
    at: int | None = None
    for segment in listed:
        if at is not None and segment.first > at:
            is_cut = any(low < segment.first and at <= high for low, high in cuts)
            yield Segment("unlisted" if is_cut else "elsewhere", at, segment.first - 1)
        yield segment
        at = segment.last + 1 if at is None else max(at, segment.last + 1)


def _cuts(feed: FeedLedger) -> list[tuple[int, int]]:
    """Give the numbers between which a list has been cut: it keeps the first intervals and the newest one."""
    cut = [
        (feed.intervals, feed.interval_count > len(feed.intervals)),
        (feed.gap_intervals, feed.gaps > _size(feed.gap_intervals)),
        (feed.shed_intervals, feed.shed > _size(feed.shed_intervals)),
    ]
    return [(items[-2].last + 1, items[-1].first - 1) for items, is_cut in cut if is_cut and len(items) > 1]


def _size(items: Sequence[Interval]) -> int:
    return sum(item.last - item.first + 1 for item in items)


def _placed(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Share the width by count, with enough for each to be seen."""
    if not segments:
        return ()
    least = min(_NARROWEST, RIBBON_WIDTH / len(segments))
    rest, whole = RIBBON_WIDTH - least * len(segments), sum(segment.count for segment in segments)
    widths = [least + rest * segment.count / whole for segment in segments]
    edges = [0.0]
    for width in widths:
        edges.append(edges[-1] + width)
    return tuple(
        Segment(segment.kind, segment.first, segment.last, round(left, 2), round(right - left, 2))
        for segment, (left, right) in zip(segments, pairwise(edges), strict=True)
    )
