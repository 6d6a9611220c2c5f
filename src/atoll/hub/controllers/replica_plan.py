"""Where copies of a dataset shall be, by its rule: which clusters lack one, which have one too many. Pure.

A cluster that is not heard keeps its place for a while: what it has is not lost because a connection is (G2). Data is
only where its residency lets it be; a copy elsewhere is surplus whatever the rule says.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from atoll.federation.resources import Cluster, Dataset

# Shorter, and a hub that restarts a rack of agents copies its datasets elsewhere; longer, and a second loss meets one
# copy. HDFS waits ten and a half minutes for a data node.
LOST_AFTER_SECONDS = 630.0


@dataclass(frozen=True)
class Wanted:
    """What is to change. `problem` says why the rule cannot be kept, empty if it can."""

    missing: tuple[str, ...] = ()
    surplus: frozenset[str] = field(default_factory=frozenset)
    problem: str = ""


def may_hold(dataset: Dataset, cluster: Cluster) -> bool:
    """Tell whether a dataset's residency lets it be in a cluster."""
    residency = dataset.spec.residency
    return not residency or not set(residency).isdisjoint(cluster.spec.residency)


def plan_replicas(dataset: Dataset, holders: Iterable[str], clusters: Iterable[Cluster], *, now: datetime) -> Wanted:
    """Decide where whole copies are missing or too many.

    Args:
        dataset: its rule, home and residency.
        holders: clusters that have a whole copy of what is to be copied.
        clusters: all clusters there are.
        now: this instant.
    """
    known, here = {cluster.metadata.name: cluster for cluster in clusters}, set(holders)
    misplaced = {name for name in here if name in known and not may_hold(dataset, known[name])}
    rule, home = dataset.spec.replicas, dataset.spec.home
    if rule is None:
        return Wanted(surplus=_spared(misplaced, here - misplaced), problem=_misplaced(dataset, misplaced))
    allowed = [each for each in known.values() if _is_candidate(dataset, each)]
    standing = [name for name in here - misplaced if name in known and not _is_lost(known[name], now)]
    count = len(allowed) if rule.count is None else rule.count
    ranked = sorted(standing, key=lambda name: (name != home, not _matches(dataset, known[name]), name))
    keep = ranked if rule.count is None else ranked[:count]
    if rule.count is None:
        keep = [name for name in ranked if name == home or _matches(dataset, known[name])] or ranked[:1]
    places = _ranked(allowed, {*here}, home=home, regions={_region(known[name]) for name in keep})
    targets = [each.metadata.name for each in places if not _is_lost(each, now) and not each.status.is_silent]
    lacking = len(targets) if rule.count is None else max(0, count - len(keep))
    missing = tuple(targets[:lacking])
    problem = _misplaced(dataset, misplaced)
    if rule.count is not None and len(missing) < lacking:
        problem = f"{len(keep)} of {count} copies: no other cluster matches the rule and is heard"
    return Wanted(missing, _spared(here - set(keep), keep), problem)


def _spared(surplus: Iterable[str], keep: Iterable[str]) -> frozenset[str]:
    """Nothing is too many while nothing would be left."""
    return frozenset(surplus) if set(keep) else frozenset()


def _misplaced(dataset: Dataset, names: set[str]) -> str:
    where = ", ".join(dataset.spec.residency)
    return f"{', '.join(sorted(names))}: is outside of {where}, where the data must stay" if names else ""


def _matches(dataset: Dataset, cluster: Cluster) -> bool:
    rule = dataset.spec.replicas
    return rule is not None and rule.clusters.matches(_labels(cluster))


def _labels(cluster: Cluster) -> dict[str, str]:
    """Give a cluster's labels, with its name as `atoll.dev/cluster` for rules that mean a certain one."""
    return {"atoll.dev/cluster": cluster.metadata.name, **cluster.metadata.labels}


def _is_candidate(dataset: Dataset, cluster: Cluster) -> bool:
    """Tell whether a new copy may be made in a cluster."""
    is_staying = cluster.metadata.deletion_timestamp is None and not cluster.spec.draining
    is_known = cluster.status.phase != "Pending"
    is_meant = cluster.metadata.name == dataset.spec.home or _matches(dataset, cluster)
    return is_staying and is_known and is_meant and may_hold(dataset, cluster)


def _is_lost(cluster: Cluster, now: datetime) -> bool:
    since = cluster.status.silent_since
    is_leaving = cluster.metadata.deletion_timestamp is not None
    return is_leaving or (since is not None and (now - since).total_seconds() > LOST_AFTER_SECONDS)


def _ranked(places: Iterable[Cluster], taken: set[str], *, home: str | None, regions: set[str]) -> list[Cluster]:
    """Order the places for new copies: the home, other regions than those that have one, then where most is free."""

    def rank(each: Cluster) -> tuple[bool, bool, int, str]:
        name = each.metadata.name
        return (name != home, _region(each) in regions, -_free_bytes(each), name)

    return sorted((each for each in places if each.metadata.name not in taken), key=rank)


def _region(cluster: Cluster) -> str:
    return cluster.metadata.labels.get("region", "")


def _free_bytes(cluster: Cluster) -> int:
    inventory, wanted = cluster.status.inventory, cluster.spec.storage_class
    classes = inventory.storage_classes if inventory is not None else ()
    fitting = (each.free_bytes for each in classes if each.name == wanted or (wanted is None and each.is_default))
    return max((free or 0 for free in fitting), default=0)
