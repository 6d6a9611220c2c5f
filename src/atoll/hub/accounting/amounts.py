"""Amounts of what runs took, as sums have them. Owns their arithmetic; pure."""

from dataclasses import astuple, dataclass, fields
from typing import Any

from atoll.federation.queueing import Spending

_HOUR_SECONDS, _GIB = 3600.0, 2.0**30


@dataclass(frozen=True)
class Amounts:
    """What runs took together. `runs` counts those that have ended."""

    runs: float = 0.0
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_byte_seconds: float = 0.0
    staged_bytes: float = 0.0
    egress_bytes: float = 0.0
    cost: float = 0.0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, factor: float) -> "Amounts":
        return Amounts(*(one * factor for one in astuple(self)))

    def __sub__(self, other: "Amounts") -> "Amounts":
        """Take away, but never more than there is."""
        return Amounts(*(max(0.0, one - two) for one, two in zip(astuple(self), astuple(other), strict=True)))

    def spending(self) -> Spending:
        """Give what of it budgets speak of."""
        return Spending(
            gpu_hours=self.gpu_seconds / _HOUR_SECONDS,
            cpu_hours=self.cpu_seconds / _HOUR_SECONDS,
            money=self.cost,
            egress_gib=self.egress_bytes / _GIB,
        )


TAKEN = tuple(each.name for each in fields(Amounts) if each.name != "runs")
"""The amounts that one record has."""


def of_record(record: Any, *, runs: float) -> Amounts:
    """Read the amounts of a record."""
    return Amounts(runs, **{name: getattr(record, name) for name in TAKEN})


def rounded(amounts: Amounts) -> dict[str, float]:
    """Give the fields of a record, to a millionth: sums of many stay as exact as anybody reads them."""
    return {name: round(getattr(amounts, name), 6) for name in TAKEN}
