"""Queues: what waits, runs and is held in each, what it held until now, and whether its guarantees are backed.

Owns Queue.status. All queues are counted at once: what one holds, those above it hold, too. Jobs and Runs are not read
for that, but followed (queue_tally.py). A status is written when
something was placed, ended or began to wait; what a queue held on average is exact in between (queueing/shares.py).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from atoll.federation.queueing import (
    Account,
    Budgets,
    Measure,
    QueueTree,
    borrowed,
    fair_shares,
    held,
    past_at,
    past_use,
    share,
    soundness,
)
from atoll.federation.resources import Cluster, Job, Queue, QueueStatus, Run
from atoll.hub.accounting.outlooks import budgets
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.queue_tally import QueueTally, Tallied
from atoll.hub.controllers.runtime import ByKey, Key, Objects, Outcome, RequeueAfter, Source
from atoll.hub.scheduler.usage import capacity, hold_all

SOUND = "Sound"
WITHIN_BUDGET = "WithinBudget"
_ALL: Key = ("", "")
# Shares are of what clusters have, which changes without any job. Shorter: all is counted for nothing. Longer: people
# read shares of a cluster that has gone.
_COUNT_AGAIN_SECONDS = 60.0
_SHARE_DIGITS = 4


@dataclass(frozen=True)
class Census:
    """Everything that a count of the queues reads, at one moment."""

    queues: Mapping[str, Queue]
    tallied: Tallied
    clusters: Collection[Cluster]
    now: datetime
    half_life_seconds: float
    budgets: Budgets = field(default_factory=lambda: Budgets({}))


def count(census: Census) -> dict[str, QueueStatus]:
    """Give every queue's status."""
    tree = QueueTree.of(census.queues)
    hold_all(tree, census.tallied.held)
    statuses = _held(tree, Measure(capacity(census.clusters)), census)
    pending, barred = _upwards(tree, census.tallied.pending), _upwards(tree, census.tallied.barred)
    parents = {name: queue.spec.parent for name, queue in census.queues.items()}
    for name, status in statuses.items():
        verdict = soundness(tree, name, parents)
        conditions = with_condition(
            status.conditions, SOUND, verdict.is_sound, reason=verdict.reason, message=verdict.message, now=census.now
        )
        counted = status.model_copy(update={"pending": pending[name], "barred": barred[name], "conditions": conditions})
        statuses[name] = _with_budgets(counted, census.budgets.accounts.get(name, ()), census.now)
    return statuses


def _upwards(tree: QueueTree, jobs: Mapping[str, int]) -> Counter[str]:
    """Count the jobs of each queue in those above it, too."""
    counted = Counter[str]()
    for queue, number in jobs.items():
        counted.update(dict.fromkeys(tree.lines.get(queue, ()), number))
    return counted


def _with_budgets(status: QueueStatus, accounts: Sequence[Account], now: datetime) -> QueueStatus:
    """Say how the budgets stand, and whether of one of them nothing is left."""
    others = tuple(each for each in status.conditions if each.type != WITHIN_BUDGET)
    if not accounts:
        return status.model_copy(update={"budgets": (), "conditions": others})
    spent = [f"no {name} are left of budgets[{each.place}]" for each in accounts for name in each.used_up]
    renewal = min((each.period.renews_at for each in accounts if each.used_up), default=now)
    message = f"{'; '.join(spent)}: the next period begins at {renewal:%Y-%m-%d %H:%M} UTC" if spent else ""
    reason = "BudgetSpent" if spent else "SomethingLeft"
    conditions = with_condition(status.conditions, WITHIN_BUDGET, not spent, reason=reason, message=message, now=now)
    return status.model_copy(update={"budgets": tuple(each.status() for each in accounts), "conditions": conditions})


def _held(tree: QueueTree, measure: Measure, census: Census) -> dict[str, QueueStatus]:
    """Say in every status what is held, which share that is, and what was held until now."""
    fair, beyond, statuses = fair_shares(tree), borrowed(tree), {}
    for name, queue in census.queues.items():
        amounts = held(tree, name)
        counted = {
            "running": tree.running[name],
            "used": amounts,
            "used_gpus": amounts.gpus,
            "borrowed": beyond[name],
            "share": round(share(tree, name, measure), _SHARE_DIGITS),
            "fair_share": round(fair[name], _SHARE_DIGITS),
            "observed_generation": queue.metadata.generation,
        }
        statuses[name] = _with_past(queue.status, queue.status.model_copy(update=counted), census)
    return statuses


def _with_past(old: QueueStatus, new: QueueStatus, census: Census) -> QueueStatus:
    """Sum up what was held until now, when something else begins to be held or is to be forgotten otherwise."""
    is_as_before = new.used == old.used
    is_same_rate = old.past is None or old.past.half_life_seconds == census.half_life_seconds
    if is_as_before and is_same_rate:
        return new
    past = past_use(past_at(old, census.now), census.now, census.half_life_seconds)
    return new.model_copy(update={"past": past})


class QueueController:
    """Keeps Queue.status."""

    name = "queues"

    def __init__(self, context: Context) -> None:
        self._context, self._tally = context, QueueTally(context.client)

    def sources(self) -> Sequence[Source]:
        """Watch queues, jobs and runs."""
        return tuple(Objects(self._context.client, model, ByKey(lambda _key: (_ALL,))) for model in (Queue, Job, Run))

    async def reconcile(self, key: Key) -> Outcome:  # noqa: ARG002 - there is one key: all queues
        """Count all queues."""
        client, census = self._context.client, await self._census()
        for name, status in count(census).items():
            if status != census.queues[name].status:
                await client.update_status(census.queues[name].model_copy(update={"status": status}))
        return RequeueAfter(_COUNT_AGAIN_SECONDS)

    async def _census(self) -> Census:
        context, tallied = self._context, await self._tally.take()
        queues = {queue.metadata.name: queue for queue in await context.client.list(Queue)}
        clusters, now = await context.client.list(Cluster), context.clock()
        standing = budgets(
            queues,
            tallied.going_on,
            {cluster.metadata.name: cluster for cluster in clusters},
            charged=context.accounts.charged(queues),
            now=now,
        )
        return Census(queues, tallied, clusters, now, context.queue_half_life_seconds, standing)
