"""What users and budgets still allow, as a cycle goes on: limits per user, and what may be spent. Pure.

Owns the tallies of one cycle. Jobs of one group have one queue, one submitter and one demand, so what holds for the
first of them holds for all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from atoll.federation.placement import Decision
from atoll.federation.queueing import (
    BudgetObstacle,
    Budgets,
    Outlook,
    QueueTree,
    Spending,
    UserObstacle,
    UserTallies,
    Vector,
)
from atoll.federation.resources import Job
from atoll.federation.resources.submitter import submitter_of
from atoll.hub.accounting.outlooks import asked_by, budgets
from atoll.hub.scheduler.brief import Ask
from atoll.hub.scheduler.snapshot import Snapshot


@dataclass
class Allowances:
    """What users hold and queues are expected to spend, with what the cycle has started."""

    snapshot: Snapshot
    tallies: UserTallies
    budgets: Budgets

    @classmethod
    def of(
        cls, snapshot: Snapshot, tree: QueueTree, submitters: Callable[[], Mapping[str, str]] = dict
    ) -> "Allowances":
        """See what unfinished runs hold and are going to spend; `tree` has what they hold, and `submitters` tells whose
        jobs are; of others the job itself is asked."""
        tallies = UserTallies.of(tree, snapshot.queues)
        known = submitters() if tallies.grants else {}
        for holder in tree.holders if tallies.grants else ():
            user = known.get(holder.job)
            if user is None:
                job = snapshot.jobs.get(holder.job)
                user = submitter_of(job) if job is not None else ""
            tallies.start(user, holder.queue, holder.vector)
        limited = any(queue.spec.budgets for queue in snapshot.queues.values())
        paired = [(run, snapshot.job_of(run)) for run in snapshot.active_runs()] if limited else []
        standing = budgets(
            snapshot.queues,
            [(run, job) for run, job in paired if job is not None],
            {cluster.metadata.name: cluster for cluster in snapshot.clusters},
            charged=snapshot.charged,
            now=snapshot.taken_at,
        )
        return cls(snapshot, tallies, standing)

    @classmethod
    def none(cls, snapshot: Snapshot) -> "Allowances":
        """Know of no limits: nobody waits."""
        return cls(snapshot, UserTallies(QueueTree.of({}), {}), Budgets({}))

    def user_limit(self, ask: Ask, vector: Vector) -> UserObstacle | None:
        """Tell which limit of its submitter a job would break; None if it breaks none."""
        return self.tallies.obstacle(ask.submitter, ask.queue, vector) if self.tallies.grants else None

    def spends(self, queue: str) -> bool:
        """Tell whether any budget has to be asked for jobs of a queue."""
        return bool(self.budgets.accounts) and self.budgets.limits(queue)

    def budget_limit(self, job: Job, decision: Decision) -> BudgetObstacle | None:
        """Tell which budget a job would exceed that gets the run of a decision; None if it exceeds none."""
        return self.budgets.obstacle(job.spec.queue, asked_by(decision, job))

    def start(self, ask: Ask, vector: Vector) -> None:
        """Count what a job holds that has started."""
        if self.tallies.grants:
            self.tallies.start(ask.submitter, ask.queue, vector)

    def spend(self, job: Job, decision: Decision) -> None:
        """Count what a job is going to spend that has started."""
        now = self.snapshot.taken_at
        self.budgets.expect(job.spec.queue, Outlook(Spending(), now, now, asked_by(decision, job)))
