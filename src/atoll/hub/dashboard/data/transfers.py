"""Copies of datasets under way, waiting and ended. Pure.

Owns their order, how far each is and when it will be done at the rate that it has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from atoll.federation.resources.transfer import TransferPhase
from atoll.hub.dashboard.words import instant
from atoll.kubeapi.resource import Object

_ORDER: dict[TransferPhase, int] = {"Copying": 0, "Failed": 1, "Pending": 2, "Succeeded": 3}
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class TransferRow:
    """One copy. `done` is from 0 to 1; `left_seconds` is None while nobody can tell."""

    namespace: str
    name: str
    dataset: str
    version: int
    source: str
    destination: str
    phase: TransferPhase
    message: str
    total_bytes: int
    copied_bytes: int
    bytes_per_second: float
    done: float
    left_seconds: float | None
    ended_at: datetime | None


@dataclass(frozen=True)
class TransferTotals:
    """Copies by phase, and what flows now."""

    copying: int
    waiting: int
    failed: int
    succeeded: int
    bytes_per_second: float
    left_bytes: int


@dataclass(frozen=True)
class Flow:
    """What goes from one cluster to another now."""

    source: str
    destination: str
    bytes_per_second: float
    count: int = 1


def transfer_row(transfer: Object) -> TransferRow:
    """Sum a stored copy up."""
    spec, status, metadata = transfer["spec"], transfer.get("status", {}), transfer["metadata"]
    phase, total, copied = status.get("phase", "Pending"), status.get("totalBytes", 0), status.get("copiedBytes", 0)
    rate = status.get("bytesPerSecond", 0.0) if phase == "Copying" else 0.0
    return TransferRow(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        dataset=spec["dataset"],
        version=spec["version"],
        source=status.get("source") or spec["source"],
        destination=spec["destination"],
        phase=phase,
        message=status.get("message", ""),
        total_bytes=total,
        copied_bytes=copied,
        bytes_per_second=rate,
        done=_done(phase, copied, total),
        left_seconds=max(0, total - copied) / rate if rate > 0 and total else None,
        ended_at=instant(status.get("finishedAt")),
    )


def _done(phase: TransferPhase, copied: int, total: int) -> float:
    if phase == "Succeeded":
        return 1.0
    return min(1.0, copied / total) if total else 0.0


def ordered_transfers(rows: Iterable[TransferRow]) -> tuple[TransferRow, ...]:
    """Order copies: those under way by how far they are, the failed, the waiting, then the newest that succeeded."""
    by_name = sorted(rows, key=lambda row: (row.namespace, row.name))
    newest = sorted(by_name, key=lambda row: row.ended_at or _NEVER, reverse=True)
    return tuple(sorted(newest, key=lambda row: (_ORDER[row.phase], -row.done if row.phase == "Copying" else 0.0)))


def flows_of(copies: Iterable[TransferRow]) -> tuple[Flow, ...]:
    """Add up the copies under way between two clusters, the largest first."""
    found: dict[tuple[str, str], Flow] = {}
    for copy in copies:
        if copy.phase == "Copying":
            ends = (copy.source, copy.destination)
            known = found.get(ends, Flow(*ends, 0.0, 0))
            found[ends] = Flow(*ends, known.bytes_per_second + copy.bytes_per_second, known.count + 1)
    return tuple(sorted(found.values(), key=lambda flow: (-flow.bytes_per_second, flow.source, flow.destination)))


def transfer_totals(rows: Sequence[TransferRow]) -> TransferTotals:
    """Count copies."""
    phases = [row.phase for row in rows]
    moving = [row for row in rows if row.phase == "Copying"]
    return TransferTotals(
        copying=len(moving),
        waiting=phases.count("Pending"),
        failed=phases.count("Failed"),
        succeeded=phases.count("Succeeded"),
        bytes_per_second=sum(row.bytes_per_second for row in moving),
        left_bytes=sum(max(0, row.total_bytes - row.copied_bytes) for row in moving),
    )
