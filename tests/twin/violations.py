"""What a history says against Atoll, and what holds of every kind of them: no program breaks by itself. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from twin.history import History
from twin.programs import is_bug


@dataclass(frozen=True)
class Violation:
    """A guarantee that was broken, and how."""

    guarantee: str
    text: str

    def __str__(self) -> str:
        return f"{self.guarantee}: {self.text}"


def broken_programs(history: History) -> Iterator[Violation]:
    """Give programs that ended by themselves, and tasks of which nobody heard that they failed."""
    for program in history.programs:
        for end in program.ends:
            if is_bug(end):
                yield Violation("alive", f"{program.name} ended by itself: {end!r}")
    for failure in history.loop.failures:
        yield Violation("alive", f"a task failed and nobody heard of it: {failure.get('exception')!r}")
