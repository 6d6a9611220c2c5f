"""What groups of jobs ask for, read once: from one cycle to the next a group that waits asks for the same.

Owns the memory of demands, and why a whole group may not be placed yet. It is used by one cycle at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson
from pydantic import ValidationError

from atoll.federation.errors import InvalidInput
from atoll.federation.estimates import ANY_COMMAND, RunTime, Subject, subject_of
from atoll.federation.placement import DatasetKey, Demand, demand_of_job, input_keys
from atoll.federation.queueing import Axes, QueueTree, Vector, refused_priority
from atoll.federation.resources import Dataset, Job, QueueSpec
from atoll.federation.resources.submitter import SUBMITTER
from atoll.hub.scheduler.admission import blocked_by_objects
from atoll.hub.scheduler.book import Group
from atoll.hub.scheduler.brief import Ask, Block
from atoll.hub.scheduler.snapshot import Snapshot

# Likenesses that may be remembered beyond twice the groups that wait.
_FEW = 1000


class _Stamp(NamedTuple):
    """What a demand was read from."""

    queue: str
    line: tuple[str, ...]
    specs: tuple[QueueSpec, ...]
    axes: Axes
    inputs: tuple[tuple[DatasetKey, Dataset | None], ...]
    subject: Subject
    run_time: RunTime | None


@dataclass(frozen=True)
class Asked:
    """What every job of a group asks for; the demand bears the name of one of them.

    `likeness` is a number that all demands of equal likeness share, in whatever queue: comparing them is slow.
    """

    demand: Demand
    vector: Vector
    likeness: int
    is_preemptible: bool = True

    def of(self, key: str) -> Demand:
        """Give the demand of one job of the group."""
        return replace(self.demand, job=key)


@dataclass
class Demands:
    """Remembers what groups ask for by what that was read from; of groups that are gone it is forgotten."""

    _known: dict[Ask, tuple[_Stamp, Asked | Block]] = field(default_factory=dict)
    _numbers: dict[tuple[object, ...], int] = field(default_factory=dict)
    _specs: dict[str, QueueSpec] = field(default_factory=dict)

    def begin(self, snapshot: Snapshot, groups: Mapping[Ask, Group]) -> None:
        """Begin a cycle: a queue of which only the status changed asks for nothing anew."""
        old = self._specs
        self._specs = {
            name: known if (known := old.get(name)) == queue.spec and known is not None else queue.spec
            for name, queue in snapshot.queues.items()
        }
        if len(self._known) > 2 * len(groups) + _FEW:
            self._known = {ask: known for ask, known in self._known.items() if ask in groups}
        if len(self._numbers) > 2 * len(groups) + _FEW:
            self._known, self._numbers = {}, {}

    def of(self, group: Group, snapshot: Snapshot, tree: QueueTree) -> Asked | Block:
        """Read what a group asks for, or why none of its jobs may be placed; or remember it."""
        known = self._known.get(group.ask)
        if known is None or not self._holds(known[0], snapshot, tree):
            job = _one_of(group, snapshot)
            known = self._known[group.ask] = self._read_now(group.ask, job, snapshot, tree)
        return known[1]

    def _read_now(self, ask: Ask, job: Job, snapshot: Snapshot, tree: QueueTree) -> "tuple[_Stamp, Asked | Block]":
        command = ANY_COMMAND if job.spec.expected_duration else ask.command
        stamp = self._stamp(job, snapshot, tree, subject=replace(subject_of(job), command=command))
        return stamp, self._read(job, snapshot, tree, run_time=stamp.run_time)

    def _stamp(self, job: Job, snapshot: Snapshot, tree: QueueTree, *, subject: Subject) -> "_Stamp":
        """Name all that a demand is read from: the very objects, which are frozen."""
        line = tree.lines.get(job.spec.queue, ())
        inputs = input_keys(job.spec, job.metadata.namespace or "")
        return _Stamp(
            queue=job.spec.queue,
            line=line,
            specs=tuple(self._specs[name] for name in line),
            axes=tree.axes,
            inputs=tuple((key, snapshot.datasets.get(key)) for key in inputs),
            subject=subject,
            run_time=snapshot.estimates.run_time_for(subject),
        )

    def _holds(self, stamp: "_Stamp", snapshot: Snapshot, tree: QueueTree) -> bool:
        """Tell whether nothing that a demand was read from has changed."""
        return (
            tree.lines.get(stamp.queue, ()) == stamp.line
            and all(self._specs[name] is spec for name, spec in zip(stamp.line, stamp.specs, strict=True))
            and tree.axes == stamp.axes
            and all(snapshot.datasets.get(key) is dataset for key, dataset in stamp.inputs)
            and snapshot.estimates.run_time_for(stamp.subject) == stamp.run_time
        )

    def _read(self, job: Job, snapshot: Snapshot, tree: QueueTree, *, run_time: RunTime | None) -> Asked | Block:
        if (block := blocked_by_objects(job, snapshot)) is not None:
            return block
        if (refused := refused_priority(tree, job.spec.queue, job.spec.priority)) is not None:
            return Block("PriorityNotAllowed", refused)
        try:
            demand = demand_of_job(job, snapshot.queues[job.spec.queue], snapshot.datasets, run_time=run_time)
        except InvalidInput as error:
            return Block("InvalidDemand", str(error))
        vector = tree.axes.charge_all(demand.pods)
        return Asked(
            demand, vector, self._numbers.setdefault(demand.likeness, len(self._numbers)), job.spec.preemptible
        )


def _one_of(group: Group, snapshot: Snapshot) -> Job:
    """Make up a job that asks for what a group does. Where that cannot be read, who it was made up from cannot either,
    and is asked for itself: Unreadable names it."""
    key = group.members[0][1]
    try:
        return specimen(group.ask, key)
    except ValidationError:
        return snapshot.jobs[key]


def specimen(ask: Ask, key: str) -> Job:
    """Make up a job that asks for this, with the name of one that does, without what no demand is read from."""
    asked = orjson.loads(ask.text)
    annotations = {SUBMITTER: ask.submitter} if ask.submitter else {}
    metadata = {"name": key.rpartition("/")[2], "namespace": ask.namespace or None, "annotations": annotations}
    spec = {**asked["spec"], "queue": ask.queue, "priority": ask.priority}
    return Job.model_validate({**asked, "metadata": metadata, "spec": spec})
