"""Where jobs ran and when: a lane per cluster, with single jobs while they are few and their density when many. Pure.

Positions are parts of the window, 0 at its begin and 1 at now; a template turns them into pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from atoll.hub.dashboard.ask import Ask, link
from atoll.hub.dashboard.jobs.book import JobRow

WINDOWS = {"1h": 3600, "15m": 900, "6h": 6 * 3600, "24h": 24 * 3600}
_MOST_CLUSTERS = 16
# More bars than this in one lane cannot be told from each other, nor be drawn in time.
_MOST_BARS = 60
_MOST_STACKED = 6
CELLS = 96


@dataclass(frozen=True)
class Bar:
    """One job: where it begins and ends, in which row of its lane, and where it leads."""

    begin: float
    end: float
    row: int
    phase: str
    label: str
    url: str


@dataclass(frozen=True)
class Lane:
    """One cluster: single jobs, or the outline of how many ran there, `CELLS` wide and 10 high."""

    cluster: str
    count: int
    busiest: int
    bars: tuple[Bar, ...] = ()
    outline: str = ""
    stacked: int = 1


@dataclass(frozen=True)
class Timeline:
    """All lanes; `omitted` clusters ran something too."""

    window: str
    lanes: tuple[Lane, ...]
    omitted: int
    seconds: int


def timeline(rows: Iterable[JobRow], ask: Ask) -> Timeline:
    """Draw what ran in the window that ends now."""
    window = ask.choice("window", tuple(WINDOWS))
    seconds = WINDOWS[window]
    begin = ask.now - timedelta(seconds=seconds)
    by_cluster: dict[str, list[JobRow]] = {}
    for row in rows:
        if row.started_at is not None and row.cluster and (row.finished_at is None or row.finished_at > begin):
            by_cluster.setdefault(row.cluster, []).append(row)
    busiest = sorted(by_cluster, key=lambda name: (-len(by_cluster[name]), name))
    shown = sorted(busiest[:_MOST_CLUSTERS])
    lanes = tuple(_lane(name, by_cluster[name], begin, ask.now) for name in shown)
    return Timeline(window, lanes, len(busiest) - len(shown), seconds)


def _lane(cluster: str, rows: Sequence[JobRow], begin: datetime, now: datetime) -> Lane:
    spans = sorted(((*_span(row, begin, now), row) for row in rows), key=lambda span: (span[0], span[1]))
    counts = _counts([(start, end) for start, end, _ in spans])
    most = max(counts)
    if len(rows) > _MOST_BARS:
        return Lane(cluster, len(rows), most, outline=_outline(counts, most))
    bars = tuple(_stack(spans))
    return Lane(cluster, len(rows), most, bars=bars, stacked=max(bar.row for bar in bars) + 1)


def _span(row: JobRow, begin: datetime, now: datetime) -> tuple[float, float]:
    assert row.started_at is not None, "only what has begun is drawn"
    whole = (now - begin).total_seconds()
    start = max(0.0, (row.started_at - begin).total_seconds() / whole)
    end = min(1.0, ((row.finished_at or now) - begin).total_seconds() / whole)
    return min(start, 1.0), max(min(start, 1.0), end)


def _counts(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Count the spans over each cell, by adding up where they begin and end."""
    steps = [0] * (CELLS + 1)
    for start, end in spans:
        steps[min(CELLS - 1, int(start * CELLS))] += 1
        steps[min(CELLS - 1, int(end * CELLS)) + 1] -= 1
    counts, level = [], 0
    for step in steps[:-1]:
        level += step
        counts.append(level)
    return counts


def _outline(counts: Sequence[int], most: int) -> str:
    """Draw counts as one shape: a path costs a browser less than a hundred boxes."""
    heights = [10 - round(10 * count / max(1, most), 1) for count in counts]
    return f"M0 10{''.join(f'V{height:g}h1' for height in heights)}V10Z"


def _stack(spans: Sequence[tuple[float, float, JobRow]]) -> list[Bar]:
    """Put each job into the first row that is free by then; what does not fit lies over the last."""
    free_from: list[float] = []
    bars = []
    for start, end, row in spans:
        at = next((number for number, free in enumerate(free_from) if free <= start), None)
        if at is None:
            at = min(len(free_from), _MOST_STACKED - 1)
            free_from[at:] = [0.0]
        free_from[at] = end
        label = f"{row.name}, {row.phase}"
        bars.append(Bar(start, end, at, row.phase, label, link("jobs", row.namespace, row.name)))
    return bars
