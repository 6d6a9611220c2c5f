"""What an order is made of: its workloads, the objects that live and die with its run, their kinds. Pure.

It must not know what is in the cluster.
"""

from collections.abc import Mapping
from typing import Any

from atoll.edge.member.desired import RUNS, Orders
from atoll.edge.member.fuse import JOB, fuse_ref
from atoll.edge.member.objects import EPOCH_ANNOTATION, RUN_LABEL, Kind, Object, ObjectRef, labels_of
from atoll.edge.member.records import Records, RunRecord
from atoll.federation.bus.messages import RunOrder
from atoll.federation.errors import AtollError, InvalidInput
from atoll.federation.workloads import adapter_of, pod_selector


def workloads_of(order: RunOrder) -> tuple[Object, ...]:
    """Give the objects of an order that do its work: one, but for pods that are a group.

    Raises:
        InvalidInput: there is none.
    """
    found = tuple(manifest for manifest in order.manifests if belongs(manifest, order.run))
    if not found:
        raise InvalidInput(f"the order of run {order.run} holds no workload labelled {RUN_LABEL}={order.run}")
    for manifest in found:
        adapter_of(manifest)
    return found


def kinds_of(orders: Orders, key: str) -> tuple[Kind, ...]:
    """Name the kinds of which the workload of an order is made; none if it has ended, or is malformed."""
    raw = orders.get(RUNS, key)
    try:
        return tuple(ObjectRef.of(each).kind for each in workloads_of(RunOrder.decode(raw))) if raw is not None else ()
    except AtollError:  # whoever reconciles the order tells of it
        return ()


class KnownRuns:
    """What orders and records tell of runs, for whoever reads their pods."""

    def __init__(self, orders: Orders, records: Records[RunRecord]) -> None:
        self._orders, self._records = orders, records

    def selector(self, namespace: str, run: str) -> str:
        """Give the label selector of a run's pods."""
        raw = self._orders.get(RUNS, f"{namespace}/{run}")
        own = workloads_of(RunOrder.decode(raw)) if raw is not None else ()
        return pod_selector(own[0]) if len(own) == 1 else f"{RUN_LABEL}={run}"

    def is_over(self, namespace: str, run: str, *, has_begun: bool) -> bool:
        """Tell whether a run will make no more pods: it has finished, or had begun and is not ordered any more."""
        key = f"{namespace}/{run}"
        record = self._records.get(key)
        if record is None or not self._orders.has(RUNS, key):
            return has_begun
        return record.report is not None


def needs_fuse(order: RunOrder) -> bool:
    """Tell whether the lease of a run has to be kept by a fuse: a Job's own deadline can be moved."""
    return order.lease_seconds is not None and any(ObjectRef.of(each).kind != JOB for each in workloads_of(order))


def refs_of(order: RunOrder) -> tuple[ObjectRef, ...]:
    """Name the objects of an order that live and die with its run.

    Raises:
        InvalidInput: no workload is among them.
    """
    fuses = (fuse_ref(order.namespace, order.run),) if needs_fuse(order) else ()
    return (*map(ObjectRef.of, workloads_of(order)), *fuses)


def is_plain(order: RunOrder) -> bool:
    """Tell whether a run is one object, which begins by being made: no fuse beside it, no tasks to select first."""
    return len(refs_of(order)) == 1 and not order.tasks


def belongs(obj: Mapping[str, Any], run: str) -> bool:
    """Tell whether an object carries the label of a run."""
    return labels_of(obj).get(RUN_LABEL) == run


def epoch_of(obj: Mapping[str, Any]) -> int | None:
    """Give the epoch that an object of a run was made for; None if it does not say."""
    text = ((obj.get("metadata") or {}).get("annotations") or {}).get(EPOCH_ANNOTATION, "")
    return int(text) if str(text).isdecimal() else None
