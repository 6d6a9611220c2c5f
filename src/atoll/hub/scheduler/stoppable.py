"""Runs that may be stopped as far as they themselves are concerned, and those that are leaving. Pure.

Owns what is read of a run for that, and what its end costs; of a cluster at which nobody looks, no run is read.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from atoll.federation.capacity import parse_duration
from atoll.federation.placement import Candidate, Occupation
from atoll.federation.queueing import Axes, Party
from atoll.federation.resources import Job, Run

# What Kubernetes gives a pod to end by itself (core/v1 PodSpec), where the job says nothing.
GRACE_SECONDS = 30.0
# How long runs that were told to leave may take beyond their grace before others are told. Less: work is stopped in
# vain while an agent is only slow. More: a job waits that long for a run that cannot be reached.
_PATIENCE_SECONDS = 120.0
_STOPPABLE = frozenset({"Pending", "Staging", "Starting", "Running"})


@dataclass(frozen=True)
class Running:
    """A run that may be stopped."""

    run: Run
    job: Job
    party: Party
    candidate: Candidate


@dataclass
class Stoppable:
    """The runs of one cycle, by cluster and by whom they leave for.

    Args:
        now: the moment of the snapshot.
        axes: what queues are measured in.
        runs: unfinished runs with their jobs.
        occupations: by cluster, what runs hold there.
    """

    now: datetime
    axes: Axes
    runs: Sequence[tuple[Run, Job]]
    occupations: Mapping[str, Sequence[Occupation]]
    _on: dict[str, tuple[Running, ...]] = field(default_factory=dict)

    def on(self, cluster: str) -> tuple[Running, ...]:
        """Give the runs on a cluster that may be stopped."""
        if cluster not in self._on:
            held = {each.run: each for each in self.occupations.get(cluster, ())}
            here = self._by_cluster.get(cluster, ())
            self._on[cluster] = tuple(
                self._running(run, job, held[run.key]) for run, job in here if run.key in held and _may_stop(run, job)
            )
        return self._on[cluster]

    def leaving(self, job: str) -> Sequence[Run]:
        """Give the runs that are leaving for a job."""
        return self._leaving.get(job, ())

    @cached_property
    def departing(self) -> tuple[Party, ...]:
        """Give what the runs hold that are leaving for any job: it is somebody else's already."""
        found: list[Party] = []
        for run, job in self.runs:
            if run.spec.preempted is not None and not is_asked_in_vain(run.spec.preempted.at, self.now):
                held = next((each for each in self.occupations.get(run.spec.cluster, ()) if each.run == run.key), None)
                if held is not None:
                    found.append(self._party(job, held))
        return tuple(found)

    @cached_property
    def lowest_priority(self) -> int:
        """The lowest priority that any run has."""
        return min((job.spec.priority for _, job in self.runs), default=0)

    @cached_property
    def _leaving(self) -> Mapping[str, list[Run]]:
        found: dict[str, list[Run]] = defaultdict(list)
        for run, _ in self.runs:
            if run.spec.preempted is not None:
                found[run.spec.preempted.by].append(run)
        return found

    @cached_property
    def _by_cluster(self) -> Mapping[str, list[tuple[Run, Job]]]:
        found: dict[str, list[tuple[Run, Job]]] = defaultdict(list)
        for pair in self.runs:
            found[pair[0].spec.cluster].append(pair)
        return found

    def _running(self, run: Run, job: Job, occupation: Occupation) -> Running:
        party = self._party(job, occupation)
        age = 0.0 if run.status.started_at is None else max(0.0, (self.now - run.status.started_at).total_seconds())
        return Running(run, job, party, Candidate(run.key, job.key, occupation, lost_seconds(job, age), age))

    def _party(self, job: Job, occupation: Occupation) -> Party:
        return Party(job.key, job.spec.queue, job.spec.priority, self.axes.charge_all(occupation.pods))


def _may_stop(run: Run, job: Job) -> bool:
    spec, status = run.spec, run.status
    return (
        job.spec.preemptible
        and status.phase in _STOPPABLE
        and spec.preempted is None
        and not spec.cancelled
        and not status.is_displaced
    )


def is_asked_in_vain(asked_at: datetime, now: datetime) -> bool:
    """Tell whether runs that were told to leave should have left by now."""
    return now > asked_at + timedelta(seconds=GRACE_SECONDS + _PATIENCE_SECONDS)


def lost_seconds(job: Job, age_seconds: float) -> float:
    """Tell how much of a run's work is lost when it is stopped now."""
    interval = job.spec.checkpoint_interval
    between = parse_duration(interval) if interval else 0.0
    return age_seconds % between if between > 0 else age_seconds


def grace_seconds(job: Job) -> float:
    """Tell how long the pods of a job may take to end when they are told to."""
    return parse_duration(job.spec.grace_period) if job.spec.grace_period else GRACE_SECONDS
