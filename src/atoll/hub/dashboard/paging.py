"""Long lists in pages. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Paged(Generic[T]):
    """One page of a list: its items, its number from 1, how many pages there are, how many items in all."""

    items: Sequence[T]
    number: int
    count: int
    total: int


def paged(items: Sequence[T], number: int, *, size: int) -> Paged[T]:
    """Cut a page out of a list; a number past the end gives the last page."""
    count = max(1, -(-len(items) // size))
    at = max(1, min(number, count))
    return Paged(items[(at - 1) * size : at * size], at, count, len(items))
