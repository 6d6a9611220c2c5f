"""Quantities and durations as Kubernetes and people write them, read and written exactly.

Owns their grammar. Amounts are integers from here on: millicores, bytes. It must not know what they measure.
"""

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import NoReturn

from atoll.federation.errors import InvalidInput

# The grammar of apimachinery/pkg/api/resource/quantity.go.
_QUANTITY = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_BINARY: dict[str, int] = {
    suffix: 1024**power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_MAX_QUANTITY = 2**63 - 1
# Longer than any exact quantity can be (19 digits, a point, 9 digits); keeps hostile input from costing time.
_MAX_QUANTITY_CHARS = 64
_MAX_EXPONENT = 100

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNIT_SECONDS: dict[str, Fraction | int] = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": Fraction(1, 1000)}


def parse_quantity(text: str | float) -> Fraction:
    """Read a Kubernetes quantity exactly.

    As Kubernetes does, more digits than nano are rounded away from zero and more than 2^63-1 is cut to it. A number, as
    YAML gives for `cpu: 1`, means the quantity that it is written as.

    Raises:
        InvalidInput: the text is no quantity.
    """
    written = _written(text)
    match = _QUANTITY.fullmatch(written) if len(written) <= _MAX_QUANTITY_CHARS else None
    if match is None:
        _no_quantity(text)
    sign, digits, suffix = match[1], match[2], match[3] or ""
    whole, _, part = digits.partition(".")
    nanos = ceil(Fraction(int(whole + part), 10 ** len(part)) * _scale(suffix) * 10**9)
    value = min(Fraction(nanos, 10**9), Fraction(_MAX_QUANTITY))
    return -value if sign == "-" else value


def _no_quantity(text: object) -> NoReturn:
    raise InvalidInput(
        f"{str(text)[:80]!r} is no quantity: write a number with an optional suffix, such as 500m or 40Gi"
    )


def _scale(suffix: str) -> Fraction:
    if suffix in _BINARY:
        return Fraction(_BINARY[suffix])
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return Fraction(10) ** max(-_MAX_EXPONENT, min(_MAX_EXPONENT, exponent))


def parse_bytes(text: str | float) -> int:
    """Read a quantity as whole bytes, rounded up.

    Raises:
        InvalidInput: the text is no quantity, or is negative.
    """
    return _whole(_written(text), 1)


def parse_millicores(text: str | float) -> int:
    """Read a CPU quantity as whole millicores, rounded up.

    Raises:
        InvalidInput: the text is no quantity, or is negative.
    """
    return min(_whole(_written(text), 1000), _MAX_QUANTITY)


def _written(text: str | float) -> str:
    return _no_quantity(text) if isinstance(text, bool) else str(text)


# The same few quantities stand in all pods of a cluster and all jobs of a queue.
@lru_cache(maxsize=4096)
def _whole(text: str, parts: int) -> int:
    value = parse_quantity(text)
    if value < 0:
        raise InvalidInput(f"{text!r} is negative: a resource quantity is zero or more")
    return ceil(value * parts)


def format_bytes(count: int) -> str:
    """Write bytes as the shortest exact quantity with a binary suffix: 42949672960 is 40Gi."""
    for suffix, unit in reversed(_BINARY.items()):
        if count and count % unit == 0:
            return f"{count // unit}{suffix}"
    return str(count)


def format_millicores(millicores: int) -> str:
    """Write millicores as a quantity: 1500 is 1500m, 2000 is 2."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def parse_duration(text: str) -> float:
    """Read a duration such as 20m, 1h30m, 500ms or 7d as seconds.

    Raises:
        InvalidInput: the text is no duration.
    """
    if len(text) > _MAX_QUANTITY_CHARS or _DURATION.fullmatch(text) is None:
        raise InvalidInput(f"{text[:80]!r} is no duration: write numbers with units d, h, m, s or ms, such as 1h30m")
    return float(sum(Fraction(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text)))


def format_duration(seconds: float) -> str:
    """Write seconds for a person, to the second from one minute on: 5400 is 1h30m, 0.25 is 0.25s."""
    if seconds < 60:
        return f"{round(seconds, 2):g}s"
    rest, parts = round(seconds), ""
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(rest, int(_UNIT_SECONDS[unit]))
        parts += f"{number}{unit}" if number else ""
    return parts
