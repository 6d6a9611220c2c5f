"""The tree of queues: what each holds beside what it was given, and why its jobs wait. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.hub.dashboard.ask import Ask, link
from atoll.hub.dashboard.jobs.book import JobBook
from atoll.hub.dashboard.jobs.listing import state_of
from atoll.hub.dashboard.queues.rows import BudgetRow, QueueRow

_MOST_REASONS = 2
_MOST_DEPTH = 6


@dataclass(frozen=True)
class Waiting:
    """Jobs that wait for one reason, and the URL that shows them."""

    reason: str
    count: int
    url: str


@dataclass(frozen=True)
class Gauge:
    """What a queue holds of GPUs, as parts of the widest amount in the whole tree."""

    used: float
    guaranteed: float | None
    limit: float | None
    label: str
    tone: str


@dataclass(frozen=True)
class QueueLine:
    """One queue in the tree; `depth` 0 is a top."""

    row: QueueRow
    depth: int
    gauge: Gauge
    waiting: tuple[Waiting, ...]
    others: int
    """Waiting jobs of this queue for reasons beyond those that are shown."""
    url: str
    jobs_url: str


@dataclass(frozen=True)
class QueuesModel:
    """What the page shows."""

    lines: tuple[QueueLine, ...]
    words: str
    there_are: int
    pending: int
    running: int
    used_gpus: int
    has_shares: bool


def view_queues(rows: Mapping[str, QueueRow], book: JobBook, ask: Ask) -> QueuesModel:
    """Lay out the tree. A filter keeps the queues whose names have it, with those above them."""
    seen, words = ask.rights.namespaces("jobs"), ask.text("q").lower()
    reasons = reasons_by_queue(book, seen)
    widest = max((_widest(row) for row in rows.values()), default=0)
    kept = _with_parents(rows, {name for name in rows if words in name.lower()}) if words else set(rows)
    lines = tuple(
        queue_line(row, reasons.get(row.name, Counter()), depth=depth, widest=widest)
        for row, depth in _walk(rows)
        if row.name in kept
    )
    tops = [row for row in rows.values() if row.parent not in rows]
    return QueuesModel(
        lines=lines,
        words=ask.text("q"),
        there_are=len(rows),
        pending=sum(row.pending for row in tops),
        running=sum(row.running for row in tops),
        used_gpus=sum(row.used_gpus for row in tops),
        has_shares=any(row.fair_share for row in rows.values()),
    )


def reasons_by_queue(book: JobBook, seen: frozenset[str] | None) -> dict[str, Counter[str]]:
    """Count waiting jobs by reason for each queue, in the namespaces that somebody sees."""
    found: dict[str, Counter[str]] = {}
    for (namespace, queue, reason), count in book.reasons.items():
        if seen is None or namespace in seen:
            found.setdefault(queue, Counter())[reason] += count
    return found


def queue_line(row: QueueRow, reasons: Counter[str], *, depth: int, widest: int) -> QueueLine:
    """Make the line of one queue."""
    top = reasons.most_common(_MOST_REASONS)
    waiting = tuple(
        Waiting(reason or "NotLookedAtYet", count, link("jobs", queue=row.name, state="waiting", reason=reason))
        for reason, count in top
    )
    return QueueLine(
        row=row,
        depth=min(depth, _MOST_DEPTH),
        gauge=gauge(row, widest),
        waiting=waiting,
        others=sum(reasons.values()) - sum(count for _, count in top),
        url=link("queues", row.name),
        jobs_url=link("jobs", queue=row.name),
    )


def gauge(row: QueueRow, widest: int) -> Gauge:
    """Draw what a queue holds; beyond its guarantee it borrows, and at its limit it can take no more."""
    scale = max(1, widest)
    words = [f"{row.used_gpus} GPUs held"]
    if row.guaranteed_gpus is not None:
        words.append(f"{row.guaranteed_gpus} guaranteed")
    if row.limit_gpus is not None:
        words.append(f"limit {row.limit_gpus}")
    is_full = row.limit_gpus is not None and row.used_gpus >= row.limit_gpus
    is_borrowing = row.guaranteed_gpus is not None and row.used_gpus > row.guaranteed_gpus
    return Gauge(
        used=row.used_gpus / scale,
        guaranteed=None if row.guaranteed_gpus is None else row.guaranteed_gpus / scale,
        limit=None if row.limit_gpus is None else row.limit_gpus / scale,
        label=", ".join(words),
        tone="bad" if is_full else "warn" if is_borrowing else "",
    )


def _widest(row: QueueRow) -> int:
    return max(row.used_gpus, row.guaranteed_gpus or 0, row.limit_gpus or 0)


def _walk(rows: Mapping[str, QueueRow]) -> Iterator[tuple[QueueRow, int]]:
    """Give every queue after its parent. A circle of parents has no top: its queues come last, each as a top."""
    children: dict[str, list[QueueRow]] = {}
    for row in sorted(rows.values(), key=lambda row: row.name):
        children.setdefault(row.parent if row.parent in rows else "", []).append(row)
    left = set(rows)
    waiting = [(row, 0) for row in reversed(children.get("", []))]
    while waiting:
        row, depth = waiting.pop()
        left.discard(row.name)
        yield row, depth
        waiting.extend((child, depth + 1) for child in reversed(children.get(row.name, [])))
    yield from ((rows[name], 0) for name in sorted(left))


def _with_parents(rows: Mapping[str, QueueRow], names: set[str]) -> set[str]:
    kept: set[str] = set()
    for name in names:
        above = name
        while above in rows and above not in kept:
            kept.add(above)
            above = rows[above].parent
    return kept


@dataclass(frozen=True)
class QueueModel:
    """One queue closely: its line, the queues below it, and who has most in it."""

    line: QueueLine
    below: tuple[QueueLine, ...]
    waiting: tuple[Waiting, ...]
    states: tuple[tuple[str, int, str], ...]
    budgets: tuple[BudgetRow, ...]


def view_queue(name: str, rows: Mapping[str, QueueRow], book: JobBook, ask: Ask) -> QueueModel:
    """Make the page of one queue."""
    seen = ask.rights.namespaces("jobs")
    reasons, widest = reasons_by_queue(book, seen), max(map(_widest, rows.values()), default=0)
    below = [row for row in sorted(rows.values(), key=lambda row: row.name) if row.parent == name]
    counts = book.phase_counts(seen, name)
    return QueueModel(
        line=queue_line(rows[name], reasons.get(name, Counter()), depth=0, widest=widest),
        below=tuple(queue_line(row, reasons.get(row.name, Counter()), depth=0, widest=widest) for row in below),
        waiting=tuple(
            Waiting(reason or "NotLookedAtYet", count, link("jobs", queue=name, state="waiting", reason=reason))
            for reason, count in reasons.get(name, Counter()).most_common()
        ),
        states=tuple(
            (phase, count, link("jobs", queue=name, state=state_of(phase)))
            for phase, count in sorted(counts.items())
            if count
        ),
        budgets=rows[name].budgets,
    )
