"""Runs that may be stopped as far as they themselves are concerned, and those that are leaving. Pure.

Owns what is read of a run for that, and what its end costs; of a cluster at which nobody looks, no run is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from atoll.federation.capacity import parse_duration
from atoll.federation.placement import Candidate, Occupation, Pods
from atoll.federation.queueing import Axes, Party, Vector
from atoll.federation.resources import Run
from atoll.hub.scheduler.standing import Standing
from atoll.hub.scheduler.usage import GRACE_SECONDS, Held, grace_seconds

# How long runs that were told to leave may take beyond their grace before others are told. Less: work is stopped in
# vain while an agent is only slow. More: a job waits that long for a run that cannot be reached.
_PATIENCE_SECONDS = 120.0
_STOPPABLE = frozenset({"Pending", "Staging", "Starting", "Running"})


@dataclass(frozen=True)
class Running:
    """A run that may be stopped."""

    run: Run
    grace_seconds: float
    party: Party
    candidate: Candidate


@dataclass
class Stoppable:
    """The runs of one cycle, by cluster and by whom they leave for.

    Args:
        now: the moment of the snapshot.
        axes: what queues are measured in.
        standing: what goes on.
    """

    now: datetime
    axes: Axes
    standing: Standing
    _on: dict[str, tuple[Running, ...]] = field(default_factory=dict)
    _charges: dict[Pods, Vector] = field(default_factory=dict)

    def on(self, cluster: str) -> tuple[Running, ...]:
        """Give the runs on a cluster that may be stopped."""
        if cluster not in self._on:
            stays = self.standing.on(cluster, self.now)
            paired = zip(stays.held, stays, strict=True)
            self._on[cluster] = tuple(self._running(held, occupation) for held, occupation in paired if _may_stop(held))
        return self._on[cluster]

    def leaving(self, job: str) -> Sequence[Run]:
        """Give the runs that are leaving for a job."""
        return [held.run for held in self.standing.leaving(job)]

    @cached_property
    def departing(self) -> tuple[Party, ...]:
        """Give what the runs hold that are leaving for any job: it is somebody else's already."""
        return tuple(
            self._party(held)
            for held in self.standing.departing()
            if held.run.spec.preempted is not None and not is_asked_in_vain(held.run.spec.preempted.at, self.now)
        )

    @property
    def lowest_priority(self) -> int:
        """The lowest priority that any run has."""
        return self.standing.lowest_priority

    def _running(self, held: Held, occupation: Occupation) -> Running:
        began = held.run.status.started_at
        age = 0.0 if began is None else max(0.0, (self.now - began).total_seconds())
        lost = lost_seconds(held.spoken.checkpoint, age)
        candidate = Candidate(held.key, held.job, occupation, lost, age)
        return Running(held.run, grace_seconds(held.grace), self._party(held), candidate)

    def _party(self, held: Held) -> Party:
        vector = self._charges.get(held.pods)
        if vector is None:
            vector = self._charges[held.pods] = self.axes.charge_all(held.pods)
        return Party(held.job, held.queue, held.priority, vector)


def _may_stop(held: Held) -> bool:
    spec, status = held.run.spec, held.run.status
    return (
        held.spoken.is_preemptible
        and status.phase in _STOPPABLE
        and spec.preempted is None
        and not spec.cancelled
        and not status.is_displaced
    )


def is_asked_in_vain(asked_at: datetime, now: datetime) -> bool:
    """Tell whether runs that were told to leave should have left by now."""
    return now > asked_at + timedelta(seconds=GRACE_SECONDS + _PATIENCE_SECONDS)


def lost_seconds(checkpoint_interval: str | None, age_seconds: float) -> float:
    """Tell how much of a run's work is lost when it is stopped now."""
    between = parse_duration(checkpoint_interval) if checkpoint_interval else 0.0
    return age_seconds % between if between > 0 else age_seconds
