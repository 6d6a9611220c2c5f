"""The end of a dataset: its files go first, in every cluster, then its object. Pure.

Owns what a deletion waits for: nothing pinned, growing, or read by an unfinished job is deleted. Where a cluster is not
heard the object stays, unless somebody abandons that copy.
"""

from datetime import datetime

from atoll.federation.bus.data_messages import DatasetOrder
from atoll.federation.resources import Condition
from atoll.federation.resources.dataset import ABANDON, KEEP_FILES
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.dataset_scope import BLOCKED_SECONDS, Scope, Upkeep


def plan_farewell(scope: Scope, now: datetime) -> Upkeep:
    """Have all files deleted, then let the object go."""
    dataset, copies = scope.dataset, scope.copies
    blocked = _why_kept(scope)
    if blocked:
        return Upkeep(conditions=_leaving(scope, "Kept", blocked, now), again_seconds=BLOCKED_SECONDS)
    keeps = dataset.metadata.annotations.get(KEEP_FILES) == "true"
    left = {name: held for name, held in copies.versions.items() if name in scope.clusters}
    silent = [name for name in left if scope.clusters[name].status.is_silent]
    orders = {
        name: DatasetOrder(
            namespace=dataset.metadata.namespace or "default", dataset=dataset.metadata.name,
            erase=tuple(sorted(held)), keep_files=keeps,
        )
        for name, held in left.items()
    }  # fmt: skip
    if dataset.metadata.annotations.get(ABANDON) == "true":
        left = {name: held for name, held in left.items() if name not in silent}
    if not left:
        return Upkeep(orders=orders, discard=copies.transfers, is_gone=True)
    where = ", ".join(f"{name} ({_told(scope, name, silent)})" for name in sorted(left))
    message = f"files are still at {where}"
    return Upkeep(
        orders=orders,
        discard=copies.transfers,
        conditions=_leaving(scope, "DeletingFiles", message, now),
        again_seconds=BLOCKED_SECONDS,
    )


def _told(scope: Scope, cluster: str, silent: list[str]) -> str:
    versions = ", ".join(f"v{version}" for version in sorted(scope.copies.versions[cluster]))
    held = scope.copies.current_held(cluster)
    if cluster in silent:
        return f"{versions}; the cluster is not heard"
    return f"{versions}: {held.problem}" if held is not None and held.problem else versions


def _why_kept(scope: Scope) -> str:
    """Say why a deleted dataset keeps its files for now; empty if it does not."""
    if scope.dataset.spec.pinned:
        return "it is pinned: set spec.pinned to false first"
    if scope.feeders:
        named = ", ".join(scope.feeders)
        return (
            f"version {scope.dataset.status.version} grows by stream {named}: end its run, or delete the Stream first"
        )
    readers = scope.needs.readers if scope.needs is not None else ()
    if readers:
        more = f" and {len(readers) - 5} more" if len(readers) > 5 else ""
        return f"jobs {', '.join(readers[:5])}{more} read it: let them end, or cancel them first"
    return ""


def _leaving(scope: Scope, reason: str, message: str, now: datetime) -> tuple[Condition, ...]:
    return with_condition(scope.dataset.status.conditions, "Deleting", True, reason=reason, message=message, now=now)
