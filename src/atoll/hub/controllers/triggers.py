"""Triggers: a dataset version that completes or grows, or a time that comes, creates exactly one Job per Trigger.

Owns those Jobs' creation and Trigger.status. What is owed, and under which name, is in firing_plan.py. That a job was
created is marked on the Dataset, and for a schedule in Trigger.status, after it was: a crash in between meets the job
by its name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atoll.federation.cron import next_after
from atoll.federation.errors import Conflict, InvalidInput
from atoll.federation.resources import FINISHED_JOB_PHASES, Dataset, Job, Trigger
from atoll.federation.resources.trigger import TriggerFiring
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.firing_plan import (
    TRIGGER_LABEL,
    Firing,
    dealt_with,
    fired_versions,
    make_job,
    owed_by_dataset,
    owed_by_schedule,
    with_mark,
)
from atoll.hub.controllers.runtime import DONE, Key, Objects, Outcome, RequeueAfter, Source, own_key

# A job that is refused (its queue was deleted, say) is tried again at this pace: the completed version waits for it.
_REFUSED_SECONDS = 15.0
# With concurrency Forbid: how soon it is noticed that a job has ended.
_BUSY_SECONDS = 5.0
_HISTORY = 10
# Longer, and a clock that was set forward is noticed late.
_MOST_SLEEP_SECONDS = 60.0


@dataclass
class _Round:
    """What one look at a trigger came to."""

    fired: list[TriggerFiring] = field(default_factory=list)
    refused: str | None = None
    is_busy: bool = False


class TriggerController:
    """Creates Jobs that triggers owe, and keeps Trigger.status."""

    name = "triggers"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch triggers, and datasets of their namespace."""
        context = self._context
        return (Objects(context.client, Trigger, own_key), Objects(context.client, Dataset, self._triggers_of))

    async def _triggers_of(self, dataset: Dataset) -> Iterable[Key]:
        """Name the triggers that may owe something for a dataset; one that grows concerns few."""
        found = await self._context.client.list(Trigger, dataset.metadata.namespace)
        has_complete = dataset.status.complete or any(version.complete for version in dataset.status.versions)
        return [
            (trigger.metadata.namespace or "", trigger.metadata.name)
            for trigger in found
            if trigger.spec.schedule is None and (has_complete or trigger.spec.on.segments is not None)
        ]

    async def reconcile(self, key: Key) -> Outcome:
        """Make the jobs that one trigger owes."""
        context, (namespace, name) = self._context, key
        trigger = await context.client.get(Trigger, namespace, name)
        if trigger is None or trigger.metadata.deletion_timestamp is not None:
            return DONE
        now, done = context.clock(), _Round()
        datasets = await context.client.list(Dataset, namespace) if trigger.spec.schedule is None else []
        for firing in owed_by_schedule(trigger, now):
            await self._deal_with(trigger, firing, done)
        for dataset in datasets:
            for firing in owed_by_dataset(trigger, dataset):
                await self._deal_with(trigger, firing, done)
        await self._write_status(trigger, done, now)
        return self._next_look(trigger, done, now)

    async def _deal_with(self, trigger: Trigger, firing: Firing, done: _Round) -> None:
        """Create the job that is owed, unless one before it stands in its way."""
        if done.is_busy or (done.refused is not None and firing.at is None):
            return
        try:
            if trigger.spec.concurrency != "Allow" and not await self._makes_way(trigger, firing):
                done.is_busy = firing.dataset is not None
                return
            done.fired.append(await self._fire(trigger, firing))
        except InvalidInput as error:
            where = firing.dataset.metadata.name if firing.dataset is not None else firing.name
            done.refused = f"{where}: {error}"

    async def _makes_way(self, trigger: Trigger, firing: Firing) -> bool:
        """Tell whether no other job of the trigger is unfinished; with Replace, cancel those that are."""
        client, label = self._context.client, trigger.metadata.name
        unfinished = [
            job
            for job in await client.list_unfinished(Job, FINISHED_JOB_PHASES)
            if job.metadata.namespace == trigger.metadata.namespace
            and job.metadata.labels.get(TRIGGER_LABEL) == label
            and job.metadata.name != firing.name
        ]
        if not unfinished or trigger.spec.concurrency == "Forbid":
            if unfinished and firing.at is not None:
                about = f"{firing.about}: left out, since {unfinished[0].metadata.name} has not ended"
                await self._context.events.record(trigger, "LeftOut", about)
            return not unfinished
        for job in unfinished:
            if not job.spec.cancelled:
                await client.update(job.model_copy(update={"spec": job.spec.model_copy(update={"cancelled": True})}))
        return True

    async def _fire(self, trigger: Trigger, firing: Firing) -> TriggerFiring:
        """Create one job, then mark it; both may have happened already."""
        context, job = self._context, make_job(trigger, firing)
        try:
            created = await context.client.create(job)
        except Conflict:
            created = None
        if firing.dataset is not None:
            await self._mark(trigger, firing)
        if created is not None:
            await context.events.record(trigger, "Fired", f"{firing.about}: created job {created.key}")
        return TriggerFiring(
            job=job.metadata.name,
            at=context.clock(),
            dataset=firing.dataset.metadata.name if firing.dataset is not None else None,
            version=firing.version,
            scheduled_at=firing.at,
        )

    async def _mark(self, trigger: Trigger, firing: Firing) -> None:
        """Mark the dataset as it is now: several jobs of one look are marked one after the other."""
        assert firing.dataset is not None, "only what is owed for a dataset is marked on one"
        metadata = firing.dataset.metadata
        dataset = await self._context.client.get(Dataset, metadata.namespace, metadata.name)
        if dataset is not None:
            await self._context.client.update(with_mark(dataset, trigger.metadata.name, firing))

    async def _write_status(self, trigger: Trigger, done: _Round, now: datetime) -> None:
        context = self._context
        status = trigger.status.model_copy(update=await self._fields(trigger, done, now))
        await context.client.update_status(trigger.model_copy(update={"status": status}))
        if done.refused is not None:
            await context.events.record(trigger, "JobRefused", done.refused, is_warning=True)

    async def _fields(self, trigger: Trigger, done: _Round, now: datetime) -> dict[str, Any]:
        status, schedule = trigger.status, trigger.spec.schedule
        refused = done.refused
        reason = "JobRefused" if refused is not None else ("Suspended" if trigger.spec.suspend else "Watching")
        conditions = with_condition(
            status.conditions, "Ready", refused is None, reason=reason, message=refused or "", now=now
        )
        following = next_after(schedule.cron, schedule.time_zone, now) if schedule is not None else None
        return {
            "fired": await self._count(trigger, len(done.fired)),
            "last_job": done.fired[-1].job if done.fired else status.last_job,
            "history": (*reversed(done.fired), *status.history)[:_HISTORY],
            # A time whose job was refused is owed still.
            "last_scheduled_at": _dealt_with(trigger, done, now),
            "next_scheduled_at": None if trigger.spec.suspend else following,
            "conditions": conditions,
            "observed_generation": trigger.metadata.generation,
        }

    async def _count(self, trigger: Trigger, fired: int) -> int:
        """Count the jobs: of datasets by their marks, which say it also after a crash."""
        if trigger.spec.schedule is not None or trigger.spec.on.segments is not None:
            return trigger.status.fired + fired
        datasets = await self._context.client.list(Dataset, trigger.metadata.namespace)
        marked = sum(len(fired_versions(dataset, trigger.metadata.name)) for dataset in datasets)
        return max(marked, trigger.status.fired)

    def _next_look(self, trigger: Trigger, done: _Round, now: datetime) -> Outcome:
        waits = [_REFUSED_SECONDS] if done.refused is not None else []
        waits += [_BUSY_SECONDS] if done.is_busy else []
        schedule = trigger.spec.schedule
        if schedule is not None and not trigger.spec.suspend:
            following = next_after(schedule.cron, schedule.time_zone, now)
            left = (following - now).total_seconds() if following is not None else _MOST_SLEEP_SECONDS
            waits.append(min(left + 0.05, _MOST_SLEEP_SECONDS))
        return RequeueAfter(min(waits)) if waits else DONE


def _dealt_with(trigger: Trigger, done: _Round, now: datetime) -> datetime | None:
    """Give the newest time that owes nothing any more."""
    if done.refused is None:
        return dealt_with(trigger, now)
    times = [firing.scheduled_at for firing in done.fired if firing.scheduled_at is not None]
    return max(times, default=trigger.status.last_scheduled_at)
