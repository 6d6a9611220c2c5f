"""Filters to choose from, each with how much it lets through. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.tones import tone


@dataclass(frozen=True)
class Chip:
    """One choice: its word, how many things it lets through, and the URL that shows them."""

    word: str
    count: int
    tone: str
    url: str
    is_chosen: bool


def chips(ask: Ask, name: str, words: Iterable[str], count: Callable[[str], int]) -> tuple[Chip, ...]:
    """Give a chip for each value of a filter; the first lets everything through."""
    first, *others = words
    chosen = ask.choice(name, (first, *others))
    found = [Chip(first, count(first), "", ask.url(**{name: None}), chosen == first)]
    found += [Chip(word, count(word), tone(word), ask.url(**{name: word}), word == chosen) for word in others]
    return tuple(found)
