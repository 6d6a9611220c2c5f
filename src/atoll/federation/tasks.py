"""Sets of an array's tasks as rising intervals: `0-41,43`, as Kubernetes writes the indexes of an Indexed Job.

Owns their arithmetic, in time and memory of the intervals and not of the tasks. Pure; it knows no job.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from atoll.federation.errors import InvalidInput

_TEXT = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*")
Span = tuple[int, int]


@dataclass(frozen=True)
class Tasks:
    """Tasks as intervals, both ends included; rising, and none touches the next."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def first(cls, count: int) -> "Tasks":
        """Give the tasks 0 to count - 1."""
        return cls(((0, count - 1),) if count > 0 else ())

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "Tasks":
        """Give the set of some numbers."""
        return _joined(sorted((number, number) for number in numbers))

    @classmethod
    def parse(cls, text: str) -> "Tasks":
        """Read `0-41,43`; empty text is the empty set.

        Raises:
            InvalidInput: the text is of another form.
        """
        if not text:
            return cls()
        if _TEXT.fullmatch(text) is None:
            raise InvalidInput(f"{text[:80]!r} should be tasks such as 7 or 0-41,43")
        parts = [part.partition("-") for part in text.split(",")]
        spans = [(int(first), int(last or first)) for first, _, last in parts]
        if wrong := next((span for span in spans if span[0] > span[1]), None):
            raise InvalidInput(f"{wrong[0]}-{wrong[1]}: a range of tasks rises")
        return _joined(sorted(spans))

    def __str__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.spans)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.spans)

    def __iter__(self) -> Iterator[int]:
        return (number for first, last in self.spans for number in range(first, last + 1))

    def __or__(self, other: "Tasks") -> "Tasks":
        return _joined(sorted((*self.spans, *other.spans))) if self.spans and other.spans else (self if self else other)

    def __and__(self, other: "Tasks") -> "Tasks":
        return self - (self - other)

    def __sub__(self, other: "Tasks") -> "Tasks":
        left: list[Span] = []
        holes = list(reversed(other.spans))
        for first, last in self.spans:
            start = first
            while holes and holes[-1][1] < start:
                holes.pop()
            while holes and holes[-1][0] <= last:
                if start < holes[-1][0]:
                    left.append((start, holes[-1][0] - 1))
                start = holes[-1][1] + 1
                if start > last:
                    break
                holes.pop()
            if start <= last:
                left.append((start, last))
        return Tasks(tuple(left))

    def shown(self, most: int = 10) -> str:
        """Write the set for people: the first few intervals, and how many tasks are left out."""
        head = Tasks(self.spans[:most])
        more = len(self) - len(head)
        return f"{head} and {more} more" if more else str(self)


def _joined(spans: list[Span]) -> Tasks:
    """Join sorted intervals that touch."""
    joined: list[Span] = []
    for first, last in spans:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return Tasks(tuple(joined))
