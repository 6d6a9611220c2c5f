"""Budgets: may a job start, as far as what may be spent in a period is concerned? Pure.

A job starts if, for every budget of every queue of its line, what the accounts have for the period, what runs that go
on are expected to spend beside that until their ends, and what this job is expected to spend are within it. So a budget
is exceeded by no more than what runs take longer than expected. Days, weeks and months begin at midnight UTC, as the
days of the accounts do.
"""

from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from atoll.federation.queueing.spending import NOTHING, Spending, spoken
from atoll.federation.queueing.tree import lineage
from atoll.federation.resources import Queue
from atoll.federation.resources.budget import Budget, BudgetStatus

Days = Mapping[str, Mapping[date, Spending]]
"""What was spent, by queue (without those below it) and day."""
_EPOCH, _A_MONDAY = date(1970, 1, 1), date(1970, 1, 5)
# Sums of floats are not exact: less than this part too much is within a budget.
_TOLERANCE = 1e-9
_HOUR_SECONDS = 3600.0


@dataclass(frozen=True)
class Period:
    """One period of a budget: the days from `first` on, before `next`."""

    first: date
    next: date

    @property
    def began_at(self) -> datetime:
        """When it began."""
        return _midnight(self.first)

    @property
    def renews_at(self) -> datetime:
        """When the next one begins."""
        return _midnight(self.next)


def period_at(budget: Budget, now: datetime) -> Period:
    """Give the period of a budget in which an instant lies."""
    today = now.astimezone(UTC).date()
    if budget.period == "Month":
        return _month(today, budget.starts.day if budget.starts else 1)
    days = budget.days or (7 if budget.period == "Week" else 1)
    anchor = budget.starts or (_A_MONDAY if budget.period == "Week" else _EPOCH)
    first = today - timedelta(days=(today - anchor).days % days)
    return Period(first, first + timedelta(days=days))


def _month(today: date, day: int) -> Period:
    """Give the month that begins on a day of the month; where a month is shorter, on its last day."""
    begin = _on(today.year, today.month, day)
    if today >= begin:
        return Period(begin, _on(today.year + today.month // 12, today.month % 12 + 1, day))
    return Period(_on(today.year - (today.month == 1), (today.month - 2) % 12 + 1, day), begin)


def _on(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, monthrange(year, month)[1]))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@dataclass(frozen=True)
class Outlook:
    """What a run is expected to spend that the accounts do not have yet.

    `hourly` from `since` until `until`, and `once` at the moment `since`.
    """

    hourly: Spending
    since: datetime
    until: datetime
    once: Spending = NOTHING

    def within(self, period: Period) -> Spending:
        """Tell what of it counts in a period that is now: until the run's end, even where that is beyond the period."""
        begin = max(self.since, period.began_at)
        hours = max(0.0, (self.until - begin).total_seconds()) / _HOUR_SECONDS
        return self.hourly * hours + (self.once if self.since >= period.began_at else NOTHING)


@dataclass(frozen=True)
class BudgetObstacle:
    """A budget in the way: whose, of what, how much of it is spent and expected, and what the job would take."""

    reason: ClassVar[str] = "BudgetSpent"

    queue: str
    period: str
    resource: str
    field: str
    limit: float
    spent: float
    expected: float
    asked: float
    renews_at: datetime

    @property
    def is_lasting(self) -> bool:
        """Whether waiting does not help: the job alone takes more than the whole budget."""
        return not _fits(self.asked, self.limit)

    @property
    def message(self) -> str:
        """Say it in a sentence."""
        asked, limit = spoken(self.resource, self.asked), spoken(self.resource, self.limit)
        whose = f"queue {self.queue}"
        if self.is_lasting:
            return (
                f"the job alone would take {asked}, more than the whole budget of {whose} per {self.period} "
                f"({self.field}: {limit}): ask for less or raise it"
            )
        running = f", runs that go on take {spoken(self.resource, self.expected)} more" if self.expected else ""
        return (
            f"{whose} has spent {spoken(self.resource, self.spent)} of {limit} per {self.period} ({self.field})"
            f"{running}, the job would take {asked}: it renews at {self.renews_at:%Y-%m-%d %H:%M} UTC"
        )

    @property
    def advice(self) -> str:
        """Say what would have to change."""
        raised = spoken(self.resource, self.spent + self.expected + self.asked)
        if self.is_lasting:
            return f"ask for less, or {self.field} of queue {self.queue} at {raised}"
        return f"wait until {self.renews_at:%Y-%m-%d %H:%M} UTC, or {self.field} of queue {self.queue} at {raised}"

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form that a decision record carries under `queue`."""
        return {
            "queue": self.queue,
            "resource": self.resource,
            "field": self.field,
            "period": self.period,
            "limit": self.limit,
            "held": round(self.spent + self.expected, 6),
            "spent": round(self.spent, 6),
            "expected": round(self.expected, 6),
            "asked": round(self.asked, 6),
            "renewsAt": self.renews_at.isoformat().replace("+00:00", "Z"),
            "message": self.message,
            "advice": self.advice,
            "holders": [],
        }


@dataclass
class Account:
    """One budget of a queue in its period."""

    queue: str
    place: int
    budget: Budget
    period: Period
    spent: Spending
    expected: Spending = NOTHING

    def obstacle(self, asked: Spending) -> BudgetObstacle | None:
        """Tell which of its amounts a job would exceed; one that it exceeds alone goes first."""
        spent, expected, wanted = self.spent.amounts, self.expected.amounts, asked.amounts
        found = [
            BudgetObstacle(
                queue=self.queue,
                period=self.budget.period,
                resource=name,
                field=f"budgets[{self.place}].{name}",
                limit=limit,
                spent=spent[name],
                expected=expected[name],
                asked=wanted[name],
                renews_at=self.period.renews_at,
            )
            for name, limit in self.budget.amounts.items()
            if wanted[name] > 0 and not _fits(spent[name] + expected[name] + wanted[name], limit)
        ]
        return next((each for each in found if each.is_lasting), found[0] if found else None)

    def status(self) -> BudgetStatus:
        """Write it as Queue.status has it."""
        return BudgetStatus(
            period=self.budget.period,
            began_at=self.period.began_at,
            renews_at=self.period.renews_at,
            spent=self.spent.status(),
            expected=self.expected.status(),
        )

    @property
    def used_up(self) -> tuple[str, ...]:
        """Name the amounts of which nothing is left."""
        taken = (self.spent + self.expected).amounts
        return tuple(name for name, limit in self.budget.amounts.items() if taken[name] >= limit)


@dataclass
class Budgets:
    """The budgets of all queues in the periods that are now; whoever starts work tells it so."""

    lines: Mapping[str, tuple[str, ...]]
    accounts: Mapping[str, tuple[Account, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, queues: Mapping[str, Queue], spent: Days, now: datetime) -> "Budgets":
        """See what was spent. What queues below a queue spent, it has spent, too."""
        lines = {name: lineage(name, queues) for name in queues}
        below: dict[str, list[str]] = {}
        for name, line in lines.items():
            for above in line:
                below.setdefault(above, []).append(name)
        accounts = {
            name: tuple(_accounts(queue, [spent.get(each, {}) for each in below[name]], now))
            for name, queue in queues.items()
            if queue.spec.budgets
        }
        return cls(lines, accounts)

    def expect(self, queue: str, outlook: Outlook) -> None:
        """Count what a run is going to spend."""
        for account in self._along(queue):
            account.expected = account.expected + outlook.within(account.period)

    def obstacle(self, queue: str, asked: Spending) -> BudgetObstacle | None:
        """Find the first budget, going up the queue's line, that a job would exceed; None if there is none.

        One that the job exceeds alone goes first.
        """
        found = [each for account in self._along(queue) if (each := account.obstacle(asked)) is not None]
        return next((each for each in found if each.is_lasting), found[0] if found else None)

    def limits(self, queue: str) -> bool:
        """Tell whether any budget of a queue's line is to be asked."""
        return any(True for _ in self._along(queue))

    def _along(self, queue: str) -> Iterator[Account]:
        for name in self.lines.get(queue, ()):
            yield from self.accounts.get(name, ())


def _accounts(queue: Queue, spent: list[Mapping[date, Spending]], now: datetime) -> Iterator[Account]:
    for place, budget in enumerate(queue.spec.budgets):
        period, total = period_at(budget, now), NOTHING
        for days in spent:
            for day, amount in days.items():
                if period.first <= day < period.next:
                    total = total + amount
        yield Account(queue.metadata.name, place, budget, period, total)


def _fits(amount: float, limit: float) -> bool:
    return amount <= limit * (1 + _TOLERANCE)
