"""What jobs ask for, read once: from one cycle to the next a job that waits asks for the same.

Owns the memory of demands. It is used by one cycle at a time.
"""

from dataclasses import dataclass, field

from atoll.federation.placement import Demand, demand_of_job, input_keys
from atoll.federation.resources import Job
from atoll.hub.scheduler.snapshot import Snapshot

# Likenesses that may be remembered beyond twice the jobs that wait.
_FEW = 1000
_Stamp = tuple[object, ...]


@dataclass(frozen=True)
class Asked:
    """A demand, and a number that all demands of its likeness share: comparing likenesses field by field is slow."""

    demand: Demand
    likeness: int


@dataclass
class Demands:
    """Remembers demands by what they were read from; what a whole cycle has not asked for is forgotten."""

    _kept: dict[_Stamp, Asked] = field(default_factory=dict)
    _used: dict[_Stamp, Asked] = field(default_factory=dict)
    _numbers: dict[tuple[object, ...], int] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin a cycle."""
        self._kept, self._used = self._used, {}
        if len(self._numbers) > 2 * len(self._kept) + _FEW:  # most are of jobs that wait no more
            self._kept, self._numbers = {}, {}

    def of(self, job: Job, snapshot: Snapshot) -> Asked:
        """Read what a job asks for, or remember it. Its queue and its inputs must be in the snapshot.

        Raises:
            InvalidInput: a quantity, duration or count in the job is malformed; the message names the field.
        """
        stamp = _stamp(job, snapshot)
        known = self._used.get(stamp) or self._kept.get(stamp)
        if known is None:
            demand = demand_of_job(job, snapshot.queues[job.spec.queue], snapshot.datasets)
            known = Asked(demand, self._numbers.setdefault(demand.likeness, len(self._numbers)))
        self._used[stamp] = known
        return known


def _stamp(job: Job, snapshot: Snapshot) -> _Stamp:
    """Name all that a demand is read from, by revisions."""
    price = snapshot.queues[job.spec.queue].spec.seconds_per_currency
    inputs = input_keys(job.spec, job.metadata.namespace or "") if job.spec.inputs else ()
    revisions = tuple(snapshot.datasets[key].metadata.resource_version for key in inputs)
    return (job.key, job.metadata.uid, job.metadata.generation, price, revisions)
