"""What copies of a dataset mean for its status: the current version, where it is whole, and the others in short. Pure.

A version only grows, and completes once. What retention and the rule for replicas want gone is marked here, with the
instant; who acts on it is dataset_upkeep.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from atoll.federation.bus.data_messages import DatasetReport, HeldVersion
from atoll.federation.resources import Condition, Dataset, DatasetStatus, Replica
from atoll.federation.resources.dataset import MOST_VERSIONS, Ledger, VersionStatus
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.dataset_copies import Copies


@dataclass(frozen=True)
class Marks:
    """What is to go: versions by retention, and by version the clusters whose copies the rule does not need."""

    obsolete: frozenset[int] = field(default_factory=frozenset)
    surplus: Mapping[int, frozenset[str]] = field(default_factory=dict)


def plan_status(dataset: Dataset, copies: Copies, now: datetime) -> DatasetStatus:
    """Give the status that the copies make."""
    old, newest = dataset.status, max((v for held in copies.versions.values() for v in held), default=0)
    listed = _listed(dataset, copies, now)
    if newest < old.version:
        if not copies.volumes:  # movers of old tell nothing; what was known stands
            return old
        replicas = _replicas(old, copies, old.replicas, now)
        return _with_problems(old.model_copy(update={"versions": listed, "replicas": replicas}), copies, now)
    if newest == 0:
        return old
    is_new = newest > old.version
    is_complete = listed[0].complete
    contents = _contents(dataset, copies, newest, is_complete=is_complete)
    # What is complete stays as it is; its sink may tell the ledger later than its mover that the files are whole.
    is_settled = old.complete and not is_new and contents["manifest_sha256"] != old.manifest_sha256
    shown = old if is_settled else old.model_copy(update=contents)
    status = shown.model_copy(
        update={
            "version": newest,
            "complete": is_complete,
            "completed_at": listed[0].completed_at,
            "versions": listed,
            "observed_generation": dataset.metadata.generation,
        }
    )
    status = status.model_copy(update={"replicas": _replicas(status, copies, () if is_new else old.replicas, now)})
    return _with_problems(status, copies, now)


def with_marks(status: DatasetStatus, marks: Marks, now: datetime) -> DatasetStatus:
    """Note since when what is to go has been so."""
    return status.model_copy(update={"versions": tuple(_marked(each, marks, now) for each in status.versions)})


def _marked(version: VersionStatus, marks: Marks, now: datetime) -> VersionStatus:
    surplus = {cluster: version.surplus.get(cluster, now) for cluster in sorted(marks.surplus.get(version.version, ()))}
    obsolete_since = (version.obsolete_since or now) if version.version in marks.obsolete else None
    return version.model_copy(update={"obsolete_since": obsolete_since, "surplus": surplus})


def newly_complete(before: DatasetStatus, after: DatasetStatus) -> tuple[VersionStatus, ...]:
    """Give the versions that were not known to be complete before, the oldest first."""
    known = {each.version for each in before.versions if each.complete}
    known |= {before.version} if before.complete else set()
    return tuple(each for each in reversed(after.versions) if each.complete and each.version not in known)


def _contents(dataset: Dataset, copies: Copies, version: int, *, is_complete: bool) -> dict[str, object]:
    """Say what is in the version: as its sink tells, who knows the ledger, else as a mover has read it.

    What a sink told while the version grew is not what is in one that a mover has seen complete since.
    """
    reports = {name: copies.believed(name) for name in copies.holders(version)}
    own = {name: report for name, report in reports.items() if report is not None and report.version == version}
    found = _leading(dataset, own)
    if found is not None and (found.complete or not is_complete):
        names = ("bytes", "files", "manifest_sha256", "ledger")
        return {**{name: getattr(found, name) for name in names}, "produced_by": found.produced_by or None}
    held = _best(dataset, copies, version)[1]
    ledger = dataset.status.ledger if dataset.status.version == version else Ledger()
    return {
        "bytes": held.bytes, "files": held.files, "manifest_sha256": held.manifest_sha256,
        "produced_by": held.produced_by or dataset.status.produced_by, "ledger": ledger,
    }  # fmt: skip


def _leading(dataset: Dataset, reports: Mapping[str, DatasetReport]) -> DatasetReport | None:
    """Choose the report to go by: a complete one first, then the home's."""
    names = sorted(reports, key=lambda name: (not reports[name].complete, name != dataset.spec.home, name))
    return reports[names[0]] if names else None


def _best(dataset: Dataset, copies: Copies, version: int) -> tuple[str, HeldVersion]:
    """Choose the copy that tells what a version is: a complete one, the home's, the first."""
    holders = copies.holders(version)
    name = min(holders, key=lambda each: (not copies.versions[each][version].complete, each != dataset.spec.home, each))
    return name, copies.versions[name][version]


def _listed(dataset: Dataset, copies: Copies, now: datetime) -> tuple[VersionStatus, ...]:
    """List the versions that are anywhere, the newest first."""
    old = {each.version: each for each in _known(dataset.status)}
    numbers = {version for held in copies.versions.values() for version in held}
    # Clusters whose movers tell nothing of older versions are believed to have what they had.
    silent = {each.version for each in old.values() if each.complete and _is_untold(each, copies)}
    newest = sorted(numbers | silent, reverse=True)[:MOST_VERSIONS]
    return tuple(_line(dataset, copies, version, old.get(version), now) for version in newest)


def _known(status: DatasetStatus) -> tuple[VersionStatus, ...]:
    """Give the versions of a status; of one that was written before there were any, the current one."""
    if status.versions or not status.version:
        return status.versions
    return (
        VersionStatus(
            version=status.version, complete=status.complete, bytes=status.bytes, files=status.files,
            manifest_sha256=status.manifest_sha256, completed_at=status.completed_at,
            clusters=tuple(each.cluster for each in status.replicas),
        ),
    )  # fmt: skip


def _is_untold(version: VersionStatus, copies: Copies) -> bool:
    return any(cluster not in copies.volumes and cluster in copies.reports for cluster in version.clusters)


def _line(dataset: Dataset, copies: Copies, version: int, old: VersionStatus | None, now: datetime) -> VersionStatus:
    holders = copies.holders(version)
    untold = {
        each for each in (old.clusters if old else ()) if each not in copies.volumes and each in copies.reports
    }  # by an older mover
    if not holders:
        assert old is not None, "a version is listed because somebody has it or is believed to"
        return old.model_copy(update={"clusters": tuple(sorted(untold))})
    _, best = _best(dataset, copies, version)
    was_complete = old is not None and old.complete
    equal = {each for each in holders if copies.versions[each][version].manifest_sha256 == best.manifest_sha256}
    shown = old if old is not None and was_complete else VersionStatus(version=version)
    if not was_complete:
        shown = VersionStatus(
            version=version, complete=best.complete, bytes=best.bytes, files=best.files,
            manifest_sha256=best.manifest_sha256, produced_by=best.produced_by,
            completed_at=_completed_at(dataset, best, now), obsolete_since=old.obsolete_since if old else None,
        )  # fmt: skip
    elif shown.manifest_sha256:
        equal = {each for each in holders if copies.versions[each][version].manifest_sha256 == shown.manifest_sha256}
    return shown.model_copy(update={"clusters": tuple(sorted(equal | untold))})


def _completed_at(dataset: Dataset, held: HeldVersion, now: datetime) -> datetime | None:
    """Date a completion: by this hub's clock if it is news, by the ledger's if it lay there before the hub looked.

    News is never older than the dataset and what is complete of it: a hub whose clock was set back for a moment would
    date it before the triggers that wait for it, and they would take it for something of before their time.
    """
    if not held.complete:
        return None
    if held.version >= dataset.status.version or held.completed_at is None:
        earlier = (dataset.metadata.creation_timestamp, *(each.completed_at for each in dataset.status.versions))
        return max([now, *(at for at in earlier if at is not None)])
    return min(held.completed_at, now)


def _replicas(status: DatasetStatus, copies: Copies, old: tuple[Replica, ...], now: datetime) -> tuple[Replica, ...]:
    """Name every cluster with a whole and equal copy of the current version; while it grows, there is none."""
    if not status.complete:
        return ()
    since = {replica.cluster: replica for replica in old if replica.version == status.version}
    whole = [
        cluster
        for cluster, versions in sorted(copies.versions.items())
        if (held := versions.get(status.version)) is not None
        and (held.complete, held.manifest_sha256) == (True, status.manifest_sha256)
    ]
    return tuple(
        since.get(cluster) or Replica(cluster=cluster, version=status.version, verified_at=now) for cluster in whole
    )


def _with_problems(status: DatasetStatus, copies: Copies, now: datetime) -> DatasetStatus:
    reason = "EndOfRun" if status.complete else "Growing"
    conditions = with_condition(status.conditions, "Complete", status.complete, reason=reason, now=now)
    return status.model_copy(update={"conditions": _healthy(conditions, status, copies, now)})


def _healthy(
    conditions: tuple[Condition, ...], status: DatasetStatus, copies: Copies, now: datetime
) -> tuple[Condition, ...]:
    errors = sorted(f"{cluster}: {report.error}" for cluster, report in copies.reports.items() if report.error)
    lost = status.complete and copies.volumes and not copies.holders(status.version)
    differing = sorted(
        cluster
        for cluster, versions in copies.versions.items()
        if status.complete
        and (held := versions.get(status.version)) is not None
        and held.complete
        and held.manifest_sha256 != status.manifest_sha256
    )
    problems = [*errors, *(f"{cluster}: its files differ from the complete version" for cluster in differing)]
    if lost:
        problems.append(f"no volume has version {status.version} any more: restore it, or delete the Dataset")
    reason = "CopiesDiffer" if differing else ("WriteFailed" if errors else ("NoCopy" if lost else "NoProblem"))
    return with_condition(conditions, "Healthy", not problems, reason=reason, message="; ".join(problems), now=now)
