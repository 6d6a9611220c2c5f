"""Intervals of reading numbers, in lists that stay short. Pure.

Owns how a list is cut: it keeps the first intervals and the newest, and the whole count stands beside it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from atoll.federation.resources.dataset import FeedLedger, Interval

# A ledger is written anew with each commit, and a Stream that feeds two datasets in turn has an interval an envelope:
# the index and the segments have them all.
_LISTED = 100
Span = tuple[int, int]


def spans_of(numbers: range) -> list[Span]:
    """Give the intervals of ascending numbers."""
    if not numbers:
        return []
    return [(numbers[0], numbers[-1])] if numbers.step == 1 else [(number, number) for number in numbers]


def merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Join ascending intervals that touch."""
    current: Span | None = None
    for first, last in spans:
        if current is not None and first == current[1] + 1:
            current = current[0], last
        else:
            if current is not None:
                yield current
            current = first, last
    if current is not None:
        yield current


def size_of(spans: Iterable[Span]) -> int:
    """Count the numbers in intervals."""
    return sum(last - first + 1 for first, last in spans)


def extended(known: Sequence[Interval], count: int, spans: Iterable[Span]) -> tuple[tuple[Interval, ...], int]:
    """Add later intervals to a cut list; give the list and the whole count."""
    added = list(merged([*((item.first, item.last) for item in known[-1:]), *spans]))
    kept = [*known[:-1], *(Interval(first=first, last=last) for first, last in added)]
    whole = count - len(known[-1:]) + len(added)
    return (tuple(kept) if len(kept) <= _LISTED else (*kept[: _LISTED - 1], kept[-1])), whole


@dataclass
class FeedGrowth:
    """What a batch adds to one outbox's line of the ledger."""

    received: list[Span] = field(default_factory=list)
    gaps: list[Span] = field(default_factory=list)
    shed: list[Span] = field(default_factory=list)
    duplicates: int = 0

    def added_to(self, old: FeedLedger) -> FeedLedger:
        """Give the line with the batch."""
        intervals, count = extended(old.intervals, old.interval_count, self.received)
        gap_intervals, _ = extended(old.gap_intervals, 0, self.gaps)
        shed_intervals, _ = extended(old.shed_intervals, 0, self.shed)
        return old.model_copy(
            update={
                "received": old.received + size_of(self.received),
                "intervals": intervals,
                "interval_count": count,
                "gaps": old.gaps + size_of(self.gaps),
                "gap_intervals": gap_intervals,
                "shed": old.shed + size_of(self.shed),
                "shed_intervals": shed_intervals,
                "duplicates": old.duplicates + self.duplicates,
            }
        )


def shortened(feed: FeedLedger, listed: int) -> FeedLedger:
    """Cut the lists of a line further, for a status."""

    def cut(items: tuple[Interval, ...]) -> tuple[Interval, ...]:
        return items if len(items) <= listed else (*items[: listed - 1], items[-1])

    names = ("intervals", "gap_intervals", "shed_intervals")
    return feed.model_copy(update={name: cut(getattr(feed, name)) for name in names})
