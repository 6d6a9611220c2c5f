"""What a fuzz harness is: a parser that meets the outside, the errors by which it may refuse, and a bound in CPU time.

Owns the bound, the making of inputs from examples, and the corpus of inputs that once did harm. A harness is used
by Hypothesis (test_fuzzed_parsers.py), which runs always, and by atheris (fuzz.py), which runs as long as it is told.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
# An input of LONGEST bytes takes milliseconds where time grows with its length, seconds where it grows with the square.
# `make fuzz` looks at longer ones.
MOST_CPU_SECONDS = 2.0
LONGEST = 20_000
Piece = tuple[bytes, bytes, bytes]


class TooSlow(BaseException):
    """A parser took longer for one input than any input may cost. No parser can catch it by mistake."""


@dataclass(frozen=True)
class Harness:
    """One parser.

    `feed` gives it bytes; it may raise `refusals` and nothing else. `seeds` are inputs that it takes, `pieces` are
    what inputs of the `longest` are made of: a beginning, what is repeated, an end.
    """

    name: str
    feed: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]
    pieces: tuple[Piece, ...] = ()
    longest: int = LONGEST

    def run(self, data: bytes) -> bool:
        """Feed one input; tell whether it was taken.

        Raises:
            TooSlow: it took too long. Any error that is no refusal: the parser has a mistake.
        """
        try:
            with at_most(MOST_CPU_SECONDS):
                self.feed(data)
        except self.refusals:
            return False
        return True

    def corpus(self) -> Iterator[bytes]:
        """Give what once did harm."""
        folder = CORPUS / self.name
        yield from (path.read_bytes() for path in sorted(folder.glob("*")))

    def stretched(self, times: int = 1) -> Iterator[bytes]:
        """Give long inputs: each piece repeated, and single bytes that many grammars begin something with."""
        common = ((b"", bytes((byte,)), b"") for byte in b'\0 \n"([{,.-/\\0a*&%=\xff')
        for head, repeated, tail in (*common, *self.pieces):
            yield head + repeated * (times * self.longest // len(repeated)) + tail

    def inputs(self) -> st.SearchStrategy[bytes]:
        """Make inputs: any bytes, and examples with something of them changed, left out or repeated."""
        return st.one_of(st.binary(max_size=400), _changed(self.seeds))


@contextmanager
def at_most(cpu_seconds: float) -> Iterator[None]:
    """Raise TooSlow once this process has computed so long. What computes in C without a look at signals ends first."""

    def ended(_number: int, _frame: object) -> None:
        raise TooSlow(f"more than {cpu_seconds} s of CPU for one input")

    before = signal.signal(signal.SIGVTALRM, ended)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@st.composite
def _changed(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        other = draw(st.sampled_from(seeds))
        begin = draw(st.integers(0, len(other)))
        new = draw(st.one_of(st.binary(max_size=6), st.just(other[begin : begin + 20]), st.just(data[start:end] * 3)))
        data = data[:start] + new + data[end:]
    return data
