"""Numbers that a few wild samples do not move. Pure."""

from collections.abc import Sequence
from math import floor, log10


def quantile(samples: Sequence[tuple[float, float]], part: float) -> float:
    """Give the value below which that part of all weight lies.

    Args:
        samples: (value, weight), at least one; weights are above 0.
        part: 0 to 1; 0.5 gives the median.
    """
    ordered = sorted(samples)
    wanted, sum_ = part * sum(weight for _, weight in ordered), 0.0
    for value, weight in ordered:
        sum_ += weight
        if sum_ >= wanted:
            return value
    return ordered[-1][0]


def coarse(value: float) -> float:
    """Keep two digits: estimates are not better than that, and what has not really changed stays the same."""
    if value == 0:
        return 0.0
    return round(value, 1 - floor(log10(abs(value))))
