"""What runs and jobs are expected to spend: the bridge from decisions to budgets. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from atoll.federation.placement import Decision, recorded_terms
from atoll.federation.queueing import Budgets, Days, Outlook, Spending
from atoll.federation.resources import Cluster, Job, Queue, Run
from atoll.hub.accounting.demand import copies_of, copying, held_by

_HOUR_SECONDS, _GIB = 3600.0, 2.0**30
# A run that should have ended by now is expected to go on for this part of what it was expected to take, as the
# scheduler expects it of what the run holds (scheduler/usage.py).
_LEAST_REMAINING_PART = 0.05


@dataclass(frozen=True)
class Charged:
    """What the accounts have: what queues spent by day, and until when runs are charged that are not over, by uid."""

    spent: Days = field(default_factory=dict)
    going_on: Mapping[str, datetime] = field(default_factory=dict)


NOTHING_CHARGED = Charged()


def asked_by(decision: Decision, job: Job) -> Spending:
    """Tell what a job is expected to spend on the cluster that was selected for it; nothing if there is none.

    What is expected of an array is what is expected of all its tasks.
    """
    terms, demand = decision.terms, decision.demand
    if terms is None or decision.selected is None:
        return Spending()
    hours, verdict = terms.run_seconds / _HOUR_SECONDS, decision.verdict(decision.selected)
    copied = sum(staged.bytes for staged in verdict.staging) if verdict is not None else 0
    tasks = job.spec.array.count if job.spec.array is not None else 1
    one = Spending(demand.gpus * hours, demand.millicores / 1000 * hours, terms.money)
    return one * tasks + Spending(egress_gib=copied / _GIB)


def outlook(
    run: Run, job: Job, clusters: Mapping[str, Cluster], *, charged_until: datetime | None, now: datetime
) -> Outlook:
    """Tell what an unfinished run is expected to spend that the accounts do not have yet."""
    record, where = run.spec.decision, run.spec.cluster
    rounds = max(1.0, job.spec.array.count / (run.spec.parallelism or 1)) if job.spec.array is not None else 1.0
    expected = recorded_terms(record, where).get("runSeconds", 0.0) * rounds
    created = run.metadata.creation_timestamp or run.status.started_at or now
    began = now if run.status.started_at is None else min(max(run.status.started_at, created), now)
    left = max(expected - (now - began).total_seconds(), expected * _LEAST_REMAINING_PART)
    return Outlook(
        hourly=held_by(run).hourly(clusters.get(where)),
        since=began if charged_until is None else max(began, charged_until),
        until=now + timedelta(seconds=left),
        once=copying(copies_of(record, where), clusters),
    )


def budgets(
    queues: Mapping[str, Queue],
    runs: Iterable[tuple[Run, Job]],
    clusters: Mapping[str, Cluster],
    *,
    charged: Charged,
    now: datetime,
) -> Budgets:
    """See how the budgets stand: what was spent, and what these unfinished runs, each with its job, are going to."""
    found = Budgets.of(queues, charged.spent, now)
    for run, job in runs if found.accounts else ():
        queue, until = job.spec.queue, charged.going_on.get(run.metadata.uid or "")
        if found.limits(queue):
            found.expect(queue, outlook(run, job, clusters, charged_until=until, now=now))
    return found
