"""Which other objects an object names, and how it is told when one does not exist.

Owns the list of references per kind, and what keeps a queue; must not read objects itself: the caller says what exists.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from atoll.federation.resources import (
    Cluster,
    Dataset,
    Gateway,
    Job,
    Queue,
    Reservation,
    Resource,
    Run,
    Stream,
    Transfer,
    Trigger,
    resolve,
)
from atoll.federation.workloads import Level
from atoll.kubeapi.errors import Cause

NOT_FOUND = "FieldValueNotFound"
NOT_SUPPORTED = "FieldValueNotSupported"
# Jobs that are looked into to find a circle. Each takes some 20 µs, while all others wait, too.
_MOST_FOLLOWED = 1000


class Existing(Protocol):
    """What the caller knows to exist."""

    def has(self, model: type[Resource], namespace: str | None, name: str) -> bool:
        """Tell whether an object exists; `namespace` is None for cluster-scoped kinds."""

    def awaited_jobs(self, namespace: str, name: str) -> tuple[str, ...]:
        """Name the jobs that a job depends on, as `namespace/name`; none if it was placed, or does not exist."""

    def unfinished_jobs(self, queue: str) -> int:
        """Count the jobs of a queue that wait or run."""

    def pod_security(self, namespace: str) -> Level:
        """Tell what pods may have in a namespace."""


@dataclass(frozen=True)
class Reference:
    """One name in an object's spec: where it stands and what it must name. `hint` says what to do without it."""

    field: str
    model: type[Resource]
    name: str
    namespace: str | None = None
    hint: str = ""


def missing(resource: Resource, existing: Existing) -> tuple[Cause, ...]:
    """Name every reference of an object that leads nowhere."""
    found = _OF_KIND.get(resource.kind, _none)(resource)
    causes = [_cause(item) for item in found if not existing.has(item.model, item.namespace, item.name)]
    return (*causes, *_foreign_inputs(resource), *_circular(resource, existing))


def why_kept(queue: Mapping[str, Any], existing: Existing) -> str:
    """Say why a queue may not be deleted, empty if it may: a job without its queue could never be placed again."""
    count = existing.unfinished_jobs(queue["metadata"]["name"])
    noun = "job names" if count == 1 else "jobs name"
    return f"{count} unfinished {noun} it in spec.queue: let them end, cancel or delete them first" if count else ""


def _cause(reference: Reference) -> Cause:
    kind = reference.model.__name__.lower()
    where = f" in namespace {reference.namespace!r}" if reference.namespace else ""
    hint = f": {reference.hint}" if reference.hint else ""
    return Cause(reference.field, f"{kind} {reference.name!r} does not exist{where}{hint}", NOT_FOUND)


def _foreign_inputs(resource: Resource) -> Iterator[Cause]:
    """A pod mounts claims of its own namespace only, so a dataset of another one cannot be an input."""
    if not isinstance(resource, Job):
        return
    for index, given in enumerate(resource.spec.inputs):
        namespace, _ = resolve(given.dataset, _namespace(resource))
        if namespace != _namespace(resource):
            message = f"{given.dataset!r} is in another namespace; submit the job in namespace {namespace!r}"
            yield Cause(f"spec.inputs[{index}].dataset", message, NOT_SUPPORTED)


def _circular(resource: Resource, existing: Existing) -> Iterator[Cause]:
    """A job that waits for one that waits for it would wait for ever: the last of a circle is refused."""
    if not isinstance(resource, Job) or not resource.metadata.name:
        return
    own, seen = f"{_namespace(resource)}/{resource.metadata.name}", set[str]()
    for index, given in enumerate(resource.spec.depends_on):
        first = "/".join(resolve(given.job, _namespace(resource)))
        if first == own:
            yield Cause(f"spec.dependsOn[{index}].job", f"{given.job!r} is this job itself: it would wait for ever")
        elif _leads_to(own, first, seen, existing):
            message = f"{given.job!r} waits for this job: each would wait for the other for ever"
            yield Cause(f"spec.dependsOn[{index}].job", message)


def _leads_to(own: str, first: str, seen: set[str], existing: Existing) -> bool:
    """Follow who waits for whom, past nobody in `seen`; a circle longer than is followed is told by the scheduler."""
    left = [first]
    while left and len(seen) < _MOST_FOLLOWED:
        key = left.pop()
        if key in seen:
            continue
        seen.add(key)
        following = existing.awaited_jobs(*key.split("/"))
        if own in following:
            return True
        left += following
    return False


def _namespace(resource: Resource) -> str:
    return resource.metadata.namespace or "default"


def _none(_resource: Resource) -> Iterator[Reference]:
    return iter(())


def _job(job: Resource) -> Iterator[Reference]:
    assert isinstance(job, Job)
    yield Reference("spec.queue", Queue, job.spec.queue, hint="create the Queue first")
    for index, given in enumerate(job.spec.inputs):
        namespace, name = resolve(given.dataset, _namespace(job))
        hint = "create the Dataset first (an empty spec will do), the job then waits for it"
        yield Reference(f"spec.inputs[{index}].dataset", Dataset, name, namespace, hint)


def _run(run: Resource) -> Iterator[Reference]:
    assert isinstance(run, Run)
    yield Reference("spec.cluster", Cluster, run.spec.cluster)


def _stream(stream: Resource) -> Iterator[Reference]:
    assert isinstance(stream, Stream)
    yield Reference("spec.gateway", Gateway, stream.spec.gateway, hint="enrol the Gateway first")
    yield Reference("spec.home", Cluster, stream.spec.home, hint="join the Cluster first")


def _dataset(dataset: Resource) -> Iterator[Reference]:
    assert isinstance(dataset, Dataset)
    if dataset.spec.home is not None:
        yield Reference("spec.home", Cluster, dataset.spec.home, hint="join the Cluster first")


def _transfer(transfer: Resource) -> Iterator[Reference]:
    assert isinstance(transfer, Transfer)
    yield Reference("spec.dataset", Dataset, transfer.spec.dataset, _namespace(transfer))
    yield Reference("spec.source", Cluster, transfer.spec.source)
    yield Reference("spec.destination", Cluster, transfer.spec.destination)


def _queue(queue: Resource) -> Iterator[Reference]:
    assert isinstance(queue, Queue)
    if queue.spec.parent is not None:
        yield Reference("spec.parent", Queue, queue.spec.parent, hint="create the parent Queue first")


def _reservation(reservation: Resource) -> Iterator[Reference]:
    assert isinstance(reservation, Reservation)
    yield Reference("spec.queue", Queue, reservation.spec.queue, hint="create the Queue first")


def _trigger(trigger: Resource) -> Iterator[Reference]:
    assert isinstance(trigger, Trigger)
    queue = str(trigger.spec.job.spec.get("queue", ""))
    if queue and "{" not in queue:
        yield Reference("spec.job.spec.queue", Queue, queue, hint="create the Queue first")


_OF_KIND: Mapping[str, Callable[[Resource], Iterator[Reference]]] = {
    "Dataset": _dataset,
    "Job": _job,
    "Queue": _queue,
    "Reservation": _reservation,
    "Run": _run,
    "Stream": _stream,
    "Transfer": _transfer,
    "Trigger": _trigger,
}
