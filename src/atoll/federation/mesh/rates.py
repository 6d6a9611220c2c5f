"""What links carry: declared by uplinks, or measured by transfers of datasets. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.resources.transfer import Transfer

# Source and destination, by their names in the federation.
Way = tuple[str, str]
# A transfer of less says more about the start of a copy than about the link.
_TELLING_BYTES = 1_000_000


@dataclass(frozen=True)
class Uplink:
    """What a cluster's way out carries: bytes/s, and the round trip in seconds to the middle of the federation."""

    bytes_per_second: float
    round_trip_seconds: float = 0.0


@dataclass(frozen=True)
class Rate:
    """Bytes/s that a transfer reached, and when."""

    bytes_per_second: float
    measured_at: datetime | None = None


def transfer_rate(source: Uplink, destination: Uplink, measured: float | None = None) -> float:
    """Estimate bytes/s between two clusters: what was measured, else the narrower of both declared uplinks."""
    return measured if measured else min(source.bytes_per_second, destination.bytes_per_second)


def round_trip_seconds(source: Uplink, destination: Uplink) -> float:
    """Estimate the round trip between two clusters: both ways to the middle."""
    return source.round_trip_seconds + destination.round_trip_seconds


def measured_rates(transfers: Iterable[Transfer]) -> dict[Way, Rate]:
    """Give, by source and destination, what the newest transfer that tells anything has measured."""
    telling = [each for each in transfers if _tells(each)]
    telling.sort(key=lambda each: (each.status.finished_at is None, _when(each) or "", each.key))
    return {
        (each.spec.source, each.spec.destination): Rate(
            each.status.bytes_per_second, each.status.finished_at or each.status.started_at
        )
        for each in telling
    }


def _tells(transfer: Transfer) -> bool:
    """Tell whether a transfer measures its link: one that copied little, or failed, does not."""
    status = transfer.status
    return (
        status.phase in ("Copying", "Succeeded")
        and status.bytes_per_second > 0
        and status.copied_bytes >= _TELLING_BYTES
    )


def _when(transfer: Transfer) -> str:
    instant = transfer.status.finished_at or transfer.status.started_at
    return instant.isoformat() if instant else ""
