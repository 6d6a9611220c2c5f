"""One dataset in whole: its versions on the clusters, its instruments, its copies. Pure.

Owns what the page of a dataset shows beside the ribbon and the map, and what may be done with it in which state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from atoll.federation.resources import Dataset
from atoll.federation.resources.dataset import SourceLedger, VersionStatus
from atoll.hub.dashboard.data.datasets import DatasetRow, row_of
from atoll.hub.dashboard.data.ledger import Ribbon, ribbons_of
from atoll.hub.dashboard.data.transfers import TransferRow
from atoll.hub.dashboard.fleet.clusters import ClusterRow

# What a cluster has of a version. Growing: it is written there. Going: retention or the rule for copies wants it gone.
Cell = Literal["whole", "growing", "coming", "going", "none"]
_MOST_SOURCES = 200
_HEARD = frozenset({"Ready", "Degraded"})


@dataclass(frozen=True)
class VersionLine:
    """One version and what each of the page's clusters has of it, in the order of `Detail.clusters`."""

    version: int
    complete: bool
    bytes: int
    files: int
    manifest_sha256: str
    produced_by: str
    completed_at: datetime | None
    obsolete_since: datetime | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class SourceBar:
    """What one instrument delivered; `share` is of the instrument that delivered most."""

    source: str
    gateway: str
    stream: str
    file: str
    received: int
    bytes: int
    share: float
    is_file: bool


@dataclass(frozen=True)
class Detail:
    """What the page of a dataset shows."""

    row: DatasetRow
    ribbons: tuple[Ribbon, ...]
    clusters: tuple[str, ...]
    versions: tuple[VersionLine, ...]
    sources: tuple[SourceBar, ...]
    hidden_sources: int
    copies: tuple[TransferRow, ...]
    produced_by: str
    merkle_root: str
    manifest_sha256: str
    late: int
    segments: int
    first_at: datetime | None
    last_at: datetime | None
    rule: str
    retention: str
    residency: tuple[str, ...]
    proven_at: datetime | None


def detail_of(dataset: Dataset, copies: Iterable[TransferRow]) -> Detail:
    """Give all of a dataset; `copies` may be of any dataset."""
    row, status = row_of(dataset.wire()), dataset.status
    mine = tuple(copy for copy in copies if (copy.namespace, copy.dataset) == (row.namespace, row.name))
    clusters = _clusters(row, status.versions, mine)
    sources = sorted(status.ledger.sources, key=lambda source: (-source.received, source.source))
    proofs = [replica.verified_at for replica in status.replicas if replica.verified_at is not None]
    return Detail(
        row=row,
        ribbons=ribbons_of(status.ledger),
        clusters=clusters,
        versions=tuple(_line(version, clusters, mine) for version in status.versions),
        sources=_bars(sources[:_MOST_SOURCES]),
        hidden_sources=max(0, len(sources) - _MOST_SOURCES),
        copies=mine,
        produced_by=status.produced_by or "",
        merkle_root=status.ledger.merkle_root,
        manifest_sha256=status.manifest_sha256,
        late=status.ledger.late,
        segments=status.ledger.segments,
        first_at=status.ledger.first_at,
        last_at=status.ledger.last_at,
        rule=_rule(dataset),
        retention=_retention(dataset),
        residency=dataset.spec.residency,
        proven_at=max(proofs, default=None),
    )


def destinations_of(dataset: Dataset, clusters: Iterable[ClusterRow]) -> tuple[str, ...]:
    """Name the clusters that the newest whole version may be copied to: heard, without it, and within its residency."""
    version = newest_whole(dataset)
    if version is None:
        return ()
    residency = set(dataset.spec.residency)
    return tuple(
        sorted(
            row.name
            for row in clusters
            if row.name not in version.clusters
            and row.phase in _HEARD
            and (not residency or not residency.isdisjoint(row.residency))
        )
    )


def newest_whole(dataset: Dataset) -> VersionStatus | None:
    """Give the newest version that is complete and somewhere; None if there is none."""
    return next((each for each in dataset.status.versions if each.complete and each.clusters), None)


def _clusters(row: DatasetRow, versions: Sequence[VersionStatus], copies: Sequence[TransferRow]) -> tuple[str, ...]:
    held = {name for version in versions for name in version.clusters}
    coming = {copy.destination for copy in copies if copy.phase in ("Copying", "Pending")}
    named = sorted((held | coming | {row.home}) - {""}, key=lambda name: (name != row.home, name))
    return tuple(named)


def _line(version: VersionStatus, clusters: Sequence[str], copies: Sequence[TransferRow]) -> VersionLine:
    coming = {
        copy.destination for copy in copies if copy.version == version.version and copy.phase in ("Copying", "Pending")
    }

    def cell(name: str) -> Cell:
        if name in version.clusters:
            is_going = name in version.surplus or version.obsolete_since is not None
            return "going" if is_going else "whole" if version.complete else "growing"
        return "coming" if name in coming else "none"

    return VersionLine(
        version=version.version,
        complete=version.complete,
        bytes=version.bytes,
        files=version.files,
        manifest_sha256=version.manifest_sha256,
        produced_by=version.produced_by,
        completed_at=version.completed_at,
        obsolete_since=version.obsolete_since,
        cells=tuple(map(cell, clusters)),
    )


def _bars(sources: Sequence[SourceLedger]) -> tuple[SourceBar, ...]:
    most = max((source.received for source in sources), default=0)
    return tuple(
        SourceBar(
            source=source.source,
            gateway=source.gateway,
            stream=source.stream,
            file=source.file,
            received=source.received,
            bytes=source.bytes,
            share=source.received / most if most else 0.0,
            is_file=source.is_file,
        )
        for source in sources
    )


def _rule(dataset: Dataset) -> str:
    rule = dataset.spec.replicas
    if rule is None:
        return "as jobs and people ask for"
    labels = ", ".join(f"{key}={value}" for key, value in sorted(rule.clusters.match_labels.items()))
    where = f" where {labels}" if labels else " by labels" if rule.clusters.match_expressions else ""
    return f"{rule.count} whole copies{where}" if rule.count is not None else f"one in every cluster{where}"


def _retention(dataset: Dataset) -> str:
    if dataset.spec.pinned:
        return "pinned: nothing of it goes"
    kept = dataset.spec.retention
    if kept is None:
        return "all versions stay"
    parts = [f"the newest {kept.versions}" if kept.versions else "", f"for {kept.age}" if kept.age else ""]
    return f"older versions stay: {', '.join(filter(None, parts))}" if any(parts) else "all versions stay"
