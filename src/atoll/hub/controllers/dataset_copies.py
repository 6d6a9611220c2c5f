"""Who has what of one dataset: from what sinks and movers report to versions by cluster. Pure.

Owns which report is believed. A mover tells all versions on its volume; what it told before another mover took its
turn, or before the volume was made, is of what is not there any more. A sink tells of the newest version only, but at
once. A copy that a transfer has verified counts until its mover could have told of it itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from atoll.federation.bus.data_messages import DatasetReport, HeldReport, HeldVersion, VolumeReport
from atoll.federation.resources import Transfer


@dataclass(frozen=True)
class Copies:
    """What was reported of one dataset by cluster, and the transfers of it."""

    reports: Mapping[str, DatasetReport]
    transfers: tuple[Transfer, ...] = ()
    held: Mapping[str, HeldReport] = field(default_factory=dict)
    volumes: Mapping[str, VolumeReport] = field(default_factory=dict)

    @cached_property
    def versions(self) -> Mapping[str, Mapping[int, HeldVersion]]:
        """Give the versions that each cluster has; of a cluster that has none there is nothing."""
        told = {cluster: dict(self._told(cluster)) for cluster in {*self.reports, *self.held}}
        known = {version for versions in told.values() for version in versions}
        for transfer in self.transfers:
            spec = transfer.spec
            if spec.version in known and self._counts(transfer):
                told.setdefault(spec.destination, {}).setdefault(spec.version, _copied(transfer))
        return {cluster: told[cluster] for cluster in sorted(told) if told[cluster]}

    def holders(self, version: int) -> tuple[str, ...]:
        """Name the clusters that have a version, whole or growing."""
        return tuple(cluster for cluster, versions in self.versions.items() if version in versions)

    def current_held(self, cluster: str) -> HeldReport | None:
        """Give what the mover of a cluster tells; None if an earlier one told it, or it is of another volume."""
        held, volume = self.held.get(cluster), self.volumes.get(cluster)
        return held if held is not None and (volume is None or held.turn >= volume.turn) else None

    def contradicted(self) -> Iterator[Transfer]:
        """Give the transfers that say they succeeded, of copies that are not there any more."""
        for transfer in self.transfers:
            spec = transfer.spec
            is_there = spec.version in self.versions.get(spec.destination, {})
            if transfer.status.phase == "Succeeded" and not is_there and spec.destination in self.volumes:
                yield transfer

    def believed(self, cluster: str) -> DatasetReport | None:
        """Give what the sink of a cluster tells, unless its mover, later, saw that it is not there any more."""
        report = self.reports.get(cluster)
        if report is None or cluster not in self.volumes:
            return report
        held, volume = self.current_held(cluster), self.volumes[cluster]
        if held is None:
            return report if report.at > volume.at else None
        is_there = any(version.version == report.version for version in held.versions)
        return report if is_there or report.at > held.at else None

    def _told(self, cluster: str) -> Iterator[tuple[int, HeldVersion]]:
        """Give the versions that one cluster tells of; where two tell of one, the last one given is right."""
        held, report = self.current_held(cluster), self.believed(cluster)
        for version in held.versions if held is not None else ():
            yield version.version, version
        if report is not None and not (held is not None and held.at > report.at and not report.complete):
            yield report.version, _reported(report)

    def _counts(self, transfer: Transfer) -> bool:
        """Tell whether a verified copy counts by its transfer: no mover has looked since."""
        cluster, finished = transfer.spec.destination, transfer.status.finished_at
        if transfer.status.phase != "Succeeded":
            return False
        held, volume = self.current_held(cluster), self.volumes.get(cluster)
        seen_at = held.at if held is not None else (volume.at if volume is not None else None)
        return seen_at is None or (finished is not None and finished > seen_at)


def _copied(transfer: Transfer) -> HeldVersion:
    status = transfer.status
    return HeldVersion(
        version=transfer.spec.version, complete=True, bytes=status.total_bytes, manifest_sha256=status.manifest_sha256
    )


def _reported(report: DatasetReport) -> HeldVersion:
    return HeldVersion(
        version=report.version,
        complete=report.complete,
        bytes=report.bytes,
        files=report.files,
        manifest_sha256=report.manifest_sha256,
        produced_by=report.produced_by,
    )
