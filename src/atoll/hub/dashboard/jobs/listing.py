"""The list of jobs: filters, counts and one page of rows. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.chips import Chip, chips
from atoll.hub.dashboard.jobs.book import HOLDING, PHASES, JobBook, JobRow
from atoll.hub.dashboard.paging import Paged, paged

ROWS = 50
# What a person asks for: some phases together.
STATES: Mapping[str, frozenset[str]] = {
    "all": frozenset(PHASES),
    "waiting": frozenset({"Pending"}),
    "running": HOLDING,
    "succeeded": frozenset({"Succeeded"}),
    "failed": frozenset({"Failed"}),
    "cancelled": frozenset({"Cancelled"}),
}


def state_of(phase: str) -> str:
    """Give the state among which a phase is shown."""
    return next(state for state, phases in STATES.items() if state != "all" and phase in phases)


@dataclass(frozen=True)
class JobFilter:
    """What is asked for; an empty word asks for everything."""

    state: str = "all"
    queue: str = ""
    cluster: str = ""
    namespace: str = ""
    user: str = ""
    reason: str = ""
    words: str = ""

    @classmethod
    def of(cls, ask: Ask) -> "JobFilter":
        """Read it from the URL."""
        return cls(
            state=ask.choice("state", tuple(STATES)),
            queue=ask.text("queue"),
            cluster=ask.text("cluster"),
            namespace=ask.text("namespace"),
            user=ask.text("user"),
            reason=ask.text("reason"),
            words=ask.text("q").lower(),
        )

    @property
    def is_empty(self) -> bool:
        """Whether it asks for everything."""
        return self == JobFilter()

    def test(self) -> Callable[[JobRow], bool]:
        """Give the test of one row; only what is asked for is looked at, for there may be 100,000."""
        exact = [(name, value) for name in ("queue", "cluster", "namespace", "user", "reason") if (value := self[name])]
        phases, words = STATES[self.state], self.words

        def holds(row: JobRow) -> bool:
            return (
                row.phase in phases
                and all(getattr(row, name) == value for name, value in exact)
                and (not words or words in row.name or words in row.user.lower() or words in row.queue)
            )

        return holds

    def __getitem__(self, name: str) -> str:
        """Give one filter by its name in the URL."""
        return str(getattr(self, name))


@dataclass(frozen=True)
class JobsModel:
    """What the page shows: of all that the filter lets through, one page."""

    matching: Sequence[JobRow]
    page: Paged[JobRow]
    states: tuple[Chip, ...]
    filter: JobFilter
    there_are: int
    queues: tuple[str, ...]
    clusters: tuple[str, ...]


def list_jobs(rows: Mapping[str, JobRow], book: JobBook, ask: Ask) -> JobsModel:
    """Choose the rows of one page among those that the user may see."""
    seen, wanted = ask.rights.namespaces("jobs"), JobFilter.of(ask)
    counts = book.phase_counts(seen)
    matching = _matching(rows, book, wanted, seen)
    visible = [key for key in book.phases if seen is None or key[0] in seen]
    places = (place for place in book.places if seen is None or place[0] in seen)
    return JobsModel(
        matching=matching,
        page=paged(matching, ask.number("page"), size=ROWS),
        states=chips(ask, "state", STATES, lambda state: sum(counts[phase] for phase in STATES[state])),
        filter=wanted,
        there_are=sum(counts.values()),
        queues=tuple(sorted({queue for _, queue, _ in visible})),
        clusters=tuple(sorted({cluster for _, cluster in places})),
    )


def _matching(
    rows: Mapping[str, JobRow], book: JobBook, wanted: JobFilter, seen: frozenset[str] | None
) -> list[JobRow]:
    ordered: Iterable[JobRow] = map(rows.__getitem__, book.newest_first())
    if seen is not None:
        ordered = (row for row in ordered if row.namespace in seen)
    return list(ordered) if wanted.is_empty else list(filter(wanted.test(), ordered))
