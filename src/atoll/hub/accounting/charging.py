"""What a run is charged, and on which days. Pure.

Durations are told by the agent's own clock: how it differs from the hub's cancels out. On which day they fall, the
hub's clock tells: a run lies between the creation of its object and now, whatever its cluster's clock says.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

from atoll.federation.capacity import gpu_matches
from atoll.federation.resources import Cluster, Job, Run
from atoll.federation.resources.submitter import QUEUE, submitter_of
from atoll.hub.accounting.amounts import Amounts, rounded
from atoll.hub.accounting.demand import Held, copying, costs_of, held_by
from atoll.hub.accounting.records import AccountRecord

# What a broken agent says counts as this much at most: sums stay finite, and a double counts seconds exactly.
_MOST = 1e15
_DAY, _NO_TIME = timedelta(days=1), timedelta()
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Charge:
    """All that is known of a run when it is charged.

    `job` is None where that is gone already. `is_told`: its agent has reported its end. `copied` are the bytes that
    were copied for it, by the clusters that they came from. `clusters` has the run's own and those, as far as they are
    still there.
    """

    run: Run
    job: Job | None
    clusters: Mapping[str, Cluster]
    now: datetime
    is_told: bool = True
    copied: Mapping[str, int] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """What tells the run from all others that ever were."""
        return self.run.metadata.uid or self.run.key

    @property
    def user(self) -> str:
        """Whose it is, as it was settled when it was placed."""
        return submitter_of(self.run) or (submitter_of(self.job) if self.job is not None else "")

    @property
    def queue(self) -> str:
        """Which queue it came from; the run says so itself, since its job may be gone."""
        return self.run.metadata.annotations.get(QUEUE) or (self.job.spec.queue if self.job is not None else "")

    @property
    def cluster(self) -> Cluster | None:
        """The run's cluster; None if it is gone."""
        return self.clusters.get(self.run.spec.cluster)

    @cached_property
    def held(self) -> Held:
        """What the run holds while it runs."""
        return held_by(self.run)

    @cached_property
    def duration(self) -> timedelta:
        """How long it ran: by its agent's clock, or by the hub's where that has told no end."""
        status = self.run.status
        if status.started_at is None:
            return _NO_TIME
        if self.is_told and status.finished_at is not None:
            return max(_NO_TIME, status.finished_at - status.started_at)
        return max(_NO_TIME, min(self.now - status.started_at, self.now - self._created_at))

    @cached_property
    def span(self) -> Span:
        """From when until when that was by the hub's clock."""
        finished = self.run.status.finished_at if self.is_told else None
        end = self.now if finished is None else min(max(finished, self._created_at), self.now)
        return max(self._created_at, end - min(self.duration, end - self._created_at)), end

    @property
    def _created_at(self) -> datetime:
        return min(self.run.metadata.creation_timestamp or self.now, self.now)


def final_records(charge: Charge, earlier: Mapping[date, AccountRecord]) -> tuple[AccountRecord, ...]:
    """Give the records of a run that has ended, one per day on which it ran; `earlier` are those that stand already.

    What stands is not altered: the last record has what is left of the whole, and never less than nothing.
    """
    began, ended = charge.span
    timely = _told(charge)
    left = timely + _copies(charge)
    records = []
    for day, begin, end in _days_over(began, ended):
        record = earlier.get(day)
        if record is None:
            part = timely * ((end - begin) / (ended - began))
            record = _record(charge, day, part, (begin, end), is_final=False)
            records.append(record)
        left = left - record.amounts
    begin = max(began, _midnight(ended.astimezone(UTC).date()))
    return (*records, _record(charge, ended.astimezone(UTC).date(), left, (begin, ended), is_final=True))


def interim_records(charge: Charge, known: Collection[date] = ()) -> tuple[AccountRecord, ...]:
    """Give the records of the days that are over of a run that goes on, but for those that stand already."""
    if charge.run.status.started_at is None:
        return ()
    charge = replace(charge, is_told=False)
    return tuple(
        _record(charge, day, _of_time(charge, end - begin), (begin, end), is_final=False)
        for day, begin, end in _days_over(*charge.span)
        if day not in known
    )


def days_over(charge: Charge) -> tuple[date, ...]:
    """Name the days on which a run ran, but for the one on which it ended or that is now."""
    return tuple(day for day, _, _ in _days_over(*charge.span))


def _days_over(began: datetime, ended: datetime) -> Iterator[tuple[date, datetime, datetime]]:
    day = began.astimezone(UTC).date()
    while day < ended.astimezone(UTC).date():
        yield day, max(began, _midnight(day)), _midnight(day + _DAY)
        day += _DAY


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _told(charge: Charge) -> Amounts:
    """Give what a run took by its agent's word; without one at least what it asked for, for as long as it ran."""
    reckoned, usage = _of_time(charge, charge.duration), charge.run.status.usage
    gpu_seconds, cpu_seconds = _sane(usage.gpu_seconds), _sane(usage.cpu_seconds)
    if not charge.is_told:  # what was reported last may be long ago
        gpu_seconds, cpu_seconds = max(gpu_seconds, reckoned.gpu_seconds), max(cpu_seconds, reckoned.cpu_seconds)
    return _priced(charge, replace(reckoned, gpu_seconds=gpu_seconds, cpu_seconds=cpu_seconds))


def _of_time(charge: Charge, duration: timedelta) -> Amounts:
    seconds, held = duration.total_seconds(), charge.held
    taken = Amounts(
        gpu_seconds=held.gpus * seconds,
        cpu_seconds=held.millicores / 1000 * seconds,
        memory_byte_seconds=held.memory_bytes * seconds,
    )
    return _priced(charge, taken)


def _priced(charge: Charge, taken: Amounts) -> Amounts:
    costs = costs_of(charge.cluster)
    cost = (costs.gpu_hour * taken.gpu_seconds + costs.cpu_hour * taken.cpu_seconds) / 3600
    return replace(taken, cost=min(cost, _MOST))


def _copies(charge: Charge) -> Amounts:
    copied = float(sum(charge.copied.values()))
    money = copying(charge.copied, charge.clusters).money
    return Amounts(staged_bytes=copied, egress_bytes=copied, cost=min(money, _MOST))


def _sane(value: float) -> float:
    """Bound what an agent says: no number below nothing, beyond all bounds, or none at all."""
    return min(_MOST, max(0.0, value)) if math.isfinite(value) else 0.0


def _record(charge: Charge, day: date, amounts: Amounts, span: Span, *, is_final: bool) -> AccountRecord:
    run, held = charge.run, charge.held
    return AccountRecord(
        uid=charge.uid,
        day=day,
        namespace=run.metadata.namespace or "",
        job=run.spec.job,
        run=run.metadata.name,
        epoch=run.spec.epoch,
        user=charge.user,
        queue=charge.queue,
        cluster=run.spec.cluster,
        gpu_model=_gpu_model(charge.cluster, held.gpu_models) if held.gpus else "",
        gpus=held.gpus,
        started_at=span[0] if run.status.started_at is not None else None,
        ended_at=span[1],
        phase=run.status.phase if is_final else "",
        reason=run.status.reason if is_final else "",
        is_final=is_final,
        is_estimated=is_final and (not charge.is_told or charge.cluster is None),
        **rounded(amounts),
    )


def _gpu_model(cluster: Cluster | None, wanted: tuple[str, ...]) -> str:
    """Name the GPUs of a cluster that a run may have got: on which node it ran, its own scheduler chose."""
    inventory = cluster.status.inventory if cluster is not None else None
    models = sorted({shape.model for shape in inventory.gpus}) if inventory is not None else []
    fitting = [model for model in models if not wanted or any(gpu_matches(wish, model) for wish in wanted)]
    return ", ".join(fitting or wanted)
