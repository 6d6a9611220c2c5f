"""Amounts that are spent: GPU hours, CPU hours, money and egress. Owns their arithmetic and how people read them."""

from dataclasses import astuple, dataclass, fields
from typing import Self

from pydantic.alias_generators import to_camel

from atoll.federation.resources.budget import SpentAmounts

_WORDS = {"gpuHours": "GPU hours", "cpuHours": "CPU hours", "money": "money", "egressGib": "GiB egress"}


@dataclass(frozen=True)
class Spending:
    """What work takes, or took."""

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    money: float = 0.0
    egress_gib: float = 0.0

    def __add__(self, other: Self) -> "Spending":
        return Spending(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, factor: float) -> "Spending":
        return Spending(*(one * factor for one in astuple(self)))

    @property
    def amounts(self) -> dict[str, float]:
        """The amounts by their names on the wire."""
        return {to_camel(each.name): getattr(self, each.name) for each in fields(self)}

    def status(self) -> SpentAmounts:
        """Write it as a status has it, to a thousandth: it is written anew when it says another thing."""
        return SpentAmounts(**{each.name: round(getattr(self, each.name), 3) for each in fields(self)})


NOTHING = Spending()


def spoken(name: str, amount: float) -> str:
    """Write an amount for people: `9.5 GPU hours`, `12 of money`."""
    number = f"{amount:.4g}" if amount < 10_000 else f"{amount:.0f}"
    return f"{number} of money" if name == "money" else f"{number} {_WORDS[name]}"
