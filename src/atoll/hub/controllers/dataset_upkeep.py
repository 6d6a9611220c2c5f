"""What is to be done for a dataset: copies to make, files to delete, folders to register.

Pure. Owns the safety of deletions by rule: nothing pinned, nothing that an unfinished job reads, no copy unless another
whole one stays that is heard of. A deletion is an order to a cluster's mover; it is over when the mover does not tell
of the version any more. The end of the whole dataset is decided in dataset_farewell.py.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

from atoll.federation.bus.data_messages import DatasetOrder
from atoll.federation.capacity import parse_duration
from atoll.federation.resources import (
    Condition,
    Dataset,
    ObjectMeta,
    Transfer,
    TransferSpec,
    transfer_name,
)
from atoll.federation.resources.dataset import VersionStatus, origin_of
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.dataset_farewell import plan_farewell
from atoll.hub.controllers.dataset_scope import BLOCKED_SECONDS, Needs, Scope, Upkeep
from atoll.hub.controllers.replica_plan import may_hold

BY_RULE = "atoll.dev/replica-rule"
"""Annotation of a Transfer that was made for a rule; the hub takes such a one back when the rule does not need it."""
UNFINISHED = frozenset({"Pending", "Copying"})
# A copy that failed is tried again, elsewhere if there is an elsewhere.
_FAILED_SECONDS = 60.0


def deletes(scope: Scope, now: datetime) -> bool:
    """Tell whether anything is to be deleted, so that needs have to be looked up."""
    return scope.dataset.metadata.deletion_timestamp is not None or any(_doomed(scope, now))


def plan_upkeep(scope: Scope, now: datetime) -> Upkeep:
    """Decide what is to be done."""
    if scope.dataset.metadata.deletion_timestamp is not None:
        return plan_farewell(scope, now)
    erase: dict[str, set[int]] = {}
    for cluster, version in _doomed(scope, now):
        if not _is_needed(scope, cluster, version):
            erase.setdefault(cluster, set()).add(version.version)
    orders = _orders(scope, erase)
    transfers, discard = _transfers(scope, now)
    return Upkeep(
        orders=orders,
        transfers=transfers,
        discard=discard,
        conditions=_conditions(scope, now),
        again_seconds=_next_look(scope, now),
    )


# --- deletions by rule


def _doomed(scope: Scope, now: datetime) -> Iterator[tuple[str, VersionStatus]]:
    """Give the copies that are to go by retention or by the rule for replicas, whose grace is over."""
    dataset = scope.dataset
    if dataset.spec.pinned:
        return
    for version in dataset.status.versions:
        if not version.complete:
            continue
        if version.obsolete_since is not None and _is_over(version.obsolete_since, _retention_grace(dataset), now):
            yield from ((cluster, version) for cluster in version.clusters)
            continue
        for cluster, since in version.surplus.items():
            is_over = cluster in version.clusters and _is_over(since, _copy_grace(scope, cluster), now)
            if is_over and _stays_elsewhere(scope, version, cluster):
                yield cluster, version


def _stays_elsewhere(scope: Scope, version: VersionStatus, cluster: str) -> bool:
    """Tell whether a whole copy that is heard of stays when this one goes."""
    others = set(version.clusters) - {cluster, *version.surplus}
    return any(name in scope.clusters and not scope.clusters[name].status.is_silent for name in others)


def _is_needed(scope: Scope, cluster: str, version: VersionStatus) -> bool:
    """Tell whether work or a copy under way reads this copy, or a version that goes everywhere."""
    needs, number = scope.needs or Needs(), version.version
    if version.obsolete_since is not None and number in needs.versions:
        return True
    if (cluster, number) in needs.pinned:
        return True
    return any(
        cluster in (each.spec.source, each.spec.destination, each.status.source)
        for each in scope.copies.transfers
        if each.spec.version == number and each.status.phase in UNFINISHED
    )


def _is_over(since: datetime, grace_seconds: float, now: datetime) -> bool:
    return (now - since).total_seconds() >= grace_seconds


def _retention_grace(dataset: Dataset) -> float:
    rule = dataset.spec.retention
    return parse_duration(rule.grace) if rule is not None else 0.0


def _copy_grace(scope: Scope, cluster: str) -> float:
    """Data that may not be where it is goes at once; what is only too many stays a while."""
    rule, found = scope.dataset.spec.replicas, scope.clusters.get(cluster)
    is_misplaced = found is not None and not may_hold(scope.dataset, found)
    return 0.0 if is_misplaced or rule is None else parse_duration(rule.grace)


def _orders(scope: Scope, erase: Mapping[str, set[int]]) -> dict[str, DatasetOrder]:
    """Say what is ordered of each cluster that is there to do it."""
    dataset, origin = scope.dataset, scope.dataset.spec.origin
    paths: dict[str, str] = {}
    if origin is not None and not _is_registered(scope):
        paths[origin.cluster] = origin.path
    return {
        cluster: DatasetOrder(
            namespace=dataset.metadata.namespace or "default",
            dataset=dataset.metadata.name,
            erase=tuple(sorted(erase.get(cluster, ()))),
            register_path=paths.get(cluster, ""),
        )
        for cluster in sorted({*erase, *paths})
        if cluster in scope.clusters
    }


def _is_registered(scope: Scope) -> bool:
    origin = scope.dataset.spec.origin
    made = origin_of(origin.path) if origin is not None else ""
    return any(version.produced_by == made for version in scope.dataset.status.versions)


# --- copies by rule


def _transfers(scope: Scope, now: datetime) -> tuple[tuple[Transfer, ...], tuple[Transfer, ...]]:
    """Give the copies to begin, and the transfers to delete: of copies that are lost, old failures, not needed now."""
    named = {each.metadata.name: each for each in scope.copies.transfers}
    discard = {each.metadata.name: each for each in scope.copies.contradicted()}
    begin: list[Transfer] = []
    wanted: set[str] = set()
    for version in scope.dataset.status.versions:
        for cluster in scope.wanted[version.version].missing if version.version in scope.wanted else ():
            name = transfer_name(scope.dataset.metadata.name, version.version, cluster)
            wanted.add(name)
            known = named.get(name)
            if known is not None and known.status.phase == "Failed" and _has_cooled(known, now):
                discard[name] = known
            source = _source(scope, version, cluster)
            if known is None and source is not None:
                begin.append(_copy(scope.dataset, version.version, source, cluster))
    for name, each in named.items():
        if each.status.phase in UNFINISHED and BY_RULE in each.metadata.annotations and name not in wanted:
            discard[name] = each
    return tuple(begin), tuple(discard.values())


def _has_cooled(transfer: Transfer, now: datetime) -> bool:
    finished = transfer.status.finished_at
    return finished is None or _is_over(finished, _FAILED_SECONDS, now)


def _source(scope: Scope, version: VersionStatus, destination: str) -> str | None:
    """Choose whom to copy from: the home, then by name, those that are heard; None if nobody is."""
    home = scope.dataset.spec.home
    names = sorted(set(version.clusters) - {destination}, key=lambda name: (name != home, name))
    return next((name for name in names if name in scope.clusters and not scope.clusters[name].status.is_silent), None)


def _copy(dataset: Dataset, version: int, source: str, destination: str) -> Transfer:
    rule = dataset.spec.replicas
    return Transfer(
        metadata=ObjectMeta(
            name=transfer_name(dataset.metadata.name, version, destination),
            namespace=dataset.metadata.namespace,
            annotations={BY_RULE: "true"},
        ),
        spec=TransferSpec(
            dataset=dataset.metadata.name, version=version, source=source, destination=destination,
            bytes_per_second=rule.bytes_per_second if rule is not None else 0,
        ),
    )  # fmt: skip


# --- what is said, and when to look again


def _conditions(scope: Scope, now: datetime) -> tuple[Condition, ...]:
    conditions, dataset = scope.dataset.status.conditions, scope.dataset
    if dataset.spec.origin is not None:
        conditions = _registered(scope, conditions, now)
    problems = sorted({each.problem for each in scope.wanted.values() if each.problem})
    lacking = sum(len(each.missing) for each in scope.wanted.values())
    if dataset.spec.replicas is not None or problems:
        reason = "RuleNotKept" if problems else ("Copying" if lacking else "AsWanted")
        message = "; ".join(problems) or (f"{lacking} copies are missing" if lacking else "")
        conditions = with_condition(
            conditions, "Replicated", not problems and not lacking, reason=reason, message=message, now=now
        )
    return conditions


def _registered(scope: Scope, conditions: tuple[Condition, ...], now: datetime) -> tuple[Condition, ...]:
    origin = scope.dataset.spec.origin
    assert origin is not None, "asked only of a dataset that has one"
    if _is_registered(scope):
        return with_condition(conditions, "Registered", True, reason="Sealed", now=now)
    held = scope.copies.current_held(origin.cluster)
    problem, doing = (held.problem, held.doing) if held is not None else ("", "")
    if origin.cluster not in scope.clusters:
        problem = f"cluster {origin.cluster!r} does not exist"
    message = problem or doing or f"waiting for the mover of {origin.cluster}"
    reason = "CannotRegister" if problem else "Registering"
    return with_condition(conditions, "Registered", False, reason=reason, message=message, now=now)


def _next_look(scope: Scope, now: datetime) -> float | None:
    """Come back when the next grace is over, or when what stood in the way may have passed."""
    dataset = scope.dataset
    waits: list[float] = []
    for version in dataset.status.versions:
        if version.obsolete_since is not None:
            waits.append(_retention_grace(dataset) - (now - version.obsolete_since).total_seconds())
        waits += [
            _copy_grace(scope, cluster) - (now - since).total_seconds() for cluster, since in version.surplus.items()
        ]
    lacking = any(each.missing or each.problem for each in scope.wanted.values())
    soonest = [max(BLOCKED_SECONDS if seconds <= 0 else seconds, 0.2) for seconds in waits]
    soonest += [BLOCKED_SECONDS] if lacking else []
    return min(soonest, default=None)
