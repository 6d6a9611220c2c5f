"""Checks on the data: can the job's datasets be where it would run."""

import numpy as np

from atoll.federation.capacity import format_bytes
from atoll.federation.placement.case import Case
from atoll.federation.placement.demand import InputDemand
from atoll.federation.placement.reasons import Check, Explanation
from atoll.federation.placement.shapes import Bools


def _none(case: Case) -> Bools:
    return np.zeros(len(case.table), np.bool_)


def _no_storage(case: Case) -> Bools:
    return ~case.table.has_storage if case.demand.needs_storage else _none(case)


def _explain_no_storage(case: Case, position: int) -> Explanation:
    wanted = case.table.views[position].wanted_storage_class
    message = f"it has no StorageClass {wanted}" if wanted else "it has no default StorageClass, and spec names none"
    return f"{message}, which the job's datasets need", {"storageClass": wanted}


def _storage_full(case: Case) -> Bools:
    return case.table.has_storage & (case.missing_bytes > case.table.storage_bytes) if case.holds else _none(case)


def _explain_storage_full(case: Case, position: int) -> Explanation:
    wants, free = int(case.missing_bytes[position]), int(case.table.storage_bytes[position])
    message = f"its datasets volume has {format_bytes(free)} left, the inputs to copy there take {format_bytes(wants)}"
    return message, {"wantsBytes": wants, "hasBytes": free}


def _kept_out(case: Case, number: int) -> Bools:
    return ~case.holds[number] & ~case.table.within(case.demand.inputs[number].residency)


def _data_kept_out(case: Case) -> Bools:
    return np.asarray(
        np.logical_or.reduce([_none(case), *(_kept_out(case, number) for number in range(len(case.holds)))])
    )


def _explain_kept_out(case: Case, position: int) -> Explanation:
    kept = [needed for number, needed in enumerate(case.demand.inputs) if _kept_out(case, number)[position]]
    there = case.table.views[position].residency
    rules = "; ".join(f"{needed.key} must stay in {', '.join(needed.residency)}" for needed in kept)
    return f"{rules}, and it {'is in ' + ', '.join(there) if there else 'declares no residency'}", {
        "datasets": [needed.key for needed in kept], "is": there,
    }  # fmt: skip


def _no_replica(case: Case) -> Bools:
    return np.full(len(case.table), any(not _known_replicas(case, needed) for needed in case.demand.inputs))


def _known_replicas(case: Case, needed: InputDemand) -> list[str]:
    return [name for name in needed.replicas if name in case.table.index]


def _explain_no_replica(case: Case, _position: int) -> Explanation:
    nowhere = [needed.key for needed in case.demand.inputs if not _known_replicas(case, needed)]
    return f"no cluster holds a copy of {', '.join(nowhere)}", {"datasets": nowhere}


def _cut_off(case: Case) -> Bools:
    cut = [
        np.isinf(stage.seconds)
        for stage, needed in zip(case.staging, case.demand.inputs, strict=True)
        if _known_replicas(case, needed)
    ]
    return np.asarray(np.logical_or.reduce([_none(case), *cut]))


def _explain_cut_off(case: Case, position: int) -> Explanation:
    table, name = case.table, case.table.views[position].name
    holders = {
        replica
        for stage, needed in zip(case.staging, case.demand.inputs, strict=True)
        if np.isinf(stage.seconds[position])
        for replica in _known_replicas(case, needed)
    }
    silent = sorted(holder for holder in holders if not table.is_heard[table.index[holder]])
    links = {holder: table.links.between(holder, name) for holder in sorted(holders.difference(silent))}
    told = [f"{holder}: {link.state}, {link.message}" for holder, link in links.items()]
    told += [f"{holder}: not heard itself" for holder in silent]
    message = f"it has no ready mesh link to a cluster that holds the inputs ({'; '.join(told)})"
    return message, {"links": {holder: str(link.state) for holder, link in links.items()}, "notHeard": silent}


DATA_CHECKS = (
    Check("NoStorageClass", _no_storage, _explain_no_storage),
    Check("StorageFull", _storage_full, _explain_storage_full),
    Check("DatasetResidency", _data_kept_out, _explain_kept_out),
    Check("NoReplica", _no_replica, _explain_no_replica),
    Check("NoMeshLink", _cut_off, _explain_cut_off),
)
