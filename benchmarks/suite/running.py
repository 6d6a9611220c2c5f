"""Running measures: each in a process of its own, in a tree of one commit, and what is told of several rounds.

Owns rounds, medians and spread. Knows nothing of what is measured; a command that fails, prints something else or has
not here what it needs is a result of its own, never a number.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import jmespath
from benchmarks.suite.catalogue import Figure, Measure

# Longer than the longest measure takes on a busy machine; what hangs is ended, and said to.
MOST_SECONDS = 1800.0
# The exit code of a measure that lacks something on this machine, as Automake has it for tests; stderr says what.
LEFT_OUT = 77


class Failed(Exception):
    """A measure ended without its numbers. The text says how, with the end of what it printed."""


class LeftOut(Exception):
    """A measure cannot be taken on this machine. The text says what it lacks."""


@dataclass(frozen=True)
class Told:
    """A figure over all rounds. Empty `values`: the measure printed none, as where a size leaves a part out."""

    figure: Figure
    values: tuple[float, ...]

    @property
    def median(self) -> float | None:
        """The middle of the rounds; of an even number, the mean of the two middle ones."""
        return median(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """The distance from lowest to highest as a part of the median."""
        if not self.values or not self.median:
            return None
        return (max(self.values) - min(self.values)) / self.median


def once(measure: Measure, size: str, tree: Path) -> Any:
    """Run a measure once in a checkout; give what it printed as JSON, lines of JSON as a list.

    Raises:
        Failed: it is not there, was ended for its time, did not exit with 0, or printed no JSON. LeftOut: it said that
            it lacks something.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tree / "src"), str(tree)))}
    try:
        done = subprocess.run(
            [sys.executable, *measure.arguments(size)],
            cwd=tree, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Failed(f"took longer than {MOST_SECONDS:.0f} s") from error
    if done.returncode == LEFT_OUT:
        raise LeftOut(done.stderr.strip())
    if done.returncode:
        raise Failed(f"exit code {done.returncode}: {done.stderr.strip()[-400:]}")
    try:
        return json.loads(done.stdout)
    except ValueError:
        return _lines(done.stdout)


def _lines(printed: str) -> list[Any]:
    try:
        return [json.loads(line) for line in printed.splitlines()]
    except ValueError as error:
        raise Failed(f"printed no JSON: {printed.strip()[-400:]}") from error


def told(measure: Measure, results: Sequence[Any]) -> list[Told]:
    """Read the figures of a measure out of the results of its rounds."""
    return [Told(each, tuple(_values(each, results))) for each in measure.figures]


def _values(figure: Figure, results: Sequence[Any]) -> list[float]:
    found = [jmespath.search(figure.at, result) for result in results]
    return [float(value) for value in found if isinstance(value, int | float)]


def rounds(measure: Measure, size: str, trees: Sequence[Path], count: int) -> tuple[list[list[Any]], float]:
    """Run a measure in each tree, round after round, in an order that turns; give results by tree, and seconds.

    One small run in each tree comes first and does not count: it compiles modules and warms the disk's cache.
    """
    began = time.monotonic()
    for tree in trees:
        once(measure, "small", tree)
    results: list[list[Any]] = [[] for _ in trees]
    for number in range(count):
        turn = number % len(trees)
        for at in (*range(turn, len(trees)), *range(turn)):
            results[at].append(once(measure, size, trees[at]))
    return results, time.monotonic() - began
