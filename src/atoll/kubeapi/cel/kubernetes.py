"""Kubernetes' own functions: on lists, quantities, URLs and semantic versions.

Owns these libraries; addresses.py has IP and CIDR, formats.py the named formats.
Source: Kubernetes documentation "Common Expression Language in Kubernetes"; k8s.io/apiserver/pkg/cel/library.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from functools import total_ordering
from itertools import pairwise
from typing import Any, ClassVar
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from atoll.kubeapi.cel.operators import checked_int, checked_uint
from atoll.kubeapi.cel.overloads import Overload, function, method, parsing, product
from atoll.kubeapi.cel.values import CelError, Opaque, Spend, Uint, contains, equal

# lists

_SUMMABLE = ("int", "uint", "double", "duration")
_COMPARABLE = ("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration")


def _is_sorted(items: list[Any]) -> bool:
    return all(one <= other for one, other in pairwise(items))


def _extreme(choose: Callable[[list[Any]], Any], name: str) -> Callable[[list[Any]], Any]:
    def call(items: list[Any]) -> Any:
        if not items:
            raise CelError(f"{name} called on empty list")
        return choose(items)

    return call


def _sum(items: list[Any]) -> Any:
    if items and isinstance(items[0], timedelta):
        return sum(items, timedelta())
    total = sum(items)
    if isinstance(total, float):
        return total
    return checked_uint(total) if items and isinstance(items[0], Uint) else checked_int(total)


def _index(items: list[Any], wanted: Any, spend: Spend) -> int:
    return next((index for index, item in enumerate(items) if equal(item, wanted, spend)), -1)


def _last_index(items: list[Any], wanted: Any, spend: Spend) -> int:
    return next((index for index in reversed(range(len(items))) if equal(items[index], wanted, spend)), -1)


def _only_comparable(call: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """Let items that cannot be compared with each other, which only `dyn` lets through, be an error of the rule."""

    def guarded(items: list[Any]) -> Any:
        try:
            return call(items)
        except TypeError:
            raise CelError("no such overload: the items of the list are not of one comparable type") from None

    return guarded


def _lists() -> list[Overload]:
    found = [method("sum", _only_comparable(_sum), f"list({of}) -> {of}") for of in _SUMMABLE]
    for of in _COMPARABLE:
        found.append(method("isSorted", _only_comparable(_is_sorted), f"list({of}) -> bool"))
        found.append(method("min", _only_comparable(_extreme(min, "min")), f"list({of}) -> {of}"))
        found.append(method("max", _only_comparable(_extreme(max, "max")), f"list({of}) -> {of}"))
    return [
        *found,
        method("indexOf", _index, "list(dyn), dyn -> int", spends=True),
        method("lastIndexOf", _last_index, "list(dyn), dyn -> int", spends=True),
    ]


_SETS = (
    function(
        "sets.contains",
        lambda items, part, spend: all(contains(items, item, spend) for item in part),
        "list(T), list(T) -> bool",
        spends=True,
        cost=product,
    ),
    function(
        "sets.intersects",
        lambda items, part, spend: any(contains(items, item, spend) for item in part),
        "list(T), list(T) -> bool",
        spends=True,
        cost=product,
    ),
    function(
        "sets.equivalent",
        lambda items, other, spend: (
            all(contains(items, item, spend) for item in other) and all(contains(other, item, spend) for item in items)
        ),
        "list(T), list(T) -> bool",
        spends=True,
        cost=product,
    ),
)

# quantities

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d{1,64}\.?\d{0,64}|\.\d{1,64}))(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<power>[+-]?\d{1,2}))?",
    re.ASCII,
)
_SUFFIXES = {
    **{
        suffix: Fraction(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{suffix}i": Fraction(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


@total_ordering
@dataclass(frozen=True)
class Quantity(Opaque):
    """An amount such as 1500m or 2Gi."""

    kind: ClassVar[str] = "Quantity"
    amount: Fraction

    def __lt__(self, other: Quantity) -> bool:
        return self.amount < other.amount


def _parsed_quantity(text: str) -> Quantity | None:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    scale = _SUFFIXES.get(match["suffix"] or "", Fraction(1)) * Fraction(10) ** int(match["power"] or 0)
    return Quantity(Fraction(match["number"].rstrip(".")) * scale)


def _quantity(text: str) -> Quantity:
    parsed = _parsed_quantity(text)
    if parsed is None:
        raise CelError(f"quantities must match the regular expression of resource quantities, not {text[:60]!r}")
    return parsed


def _is_integer(quantity: Quantity) -> bool:
    return quantity.amount.denominator == 1 and abs(quantity.amount) < 2**63


def _as_integer(quantity: Quantity) -> int:
    if not _is_integer(quantity):
        raise CelError("cannot convert value to integer")
    return int(quantity.amount)


def _compared(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


_QUANTITIES = (
    function("quantity", _quantity, "string -> Quantity", cost=parsing),
    function("isQuantity", lambda text: _parsed_quantity(text) is not None, "string -> bool", cost=parsing),
    method("sign", lambda quantity: _compared(quantity.amount, 0), "Quantity -> int"),
    method("isInteger", _is_integer, "Quantity -> bool"),
    method("asInteger", _as_integer, "Quantity -> int"),
    method("asApproximateFloat", lambda quantity: float(quantity.amount), "Quantity -> double"),
    method("add", lambda one, other: Quantity(one.amount + other.amount), "Quantity, Quantity -> Quantity"),
    method("add", lambda one, other: Quantity(one.amount + other), "Quantity, int -> Quantity"),
    method("sub", lambda one, other: Quantity(one.amount - other.amount), "Quantity, Quantity -> Quantity"),
    method("sub", lambda one, other: Quantity(one.amount - other), "Quantity, int -> Quantity"),
)

# semantic versions

_NUMBER, _LABEL = r"(?:0|[1-9]\d{0,18})", r"[0-9A-Za-z-]+"
_SEMVER = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_LABEL}(?:\.{_LABEL})*))?(?:\+({_LABEL}(?:\.{_LABEL})*))?", re.ASCII
)
_LOOSE = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?([-+].*)?", re.ASCII)


@total_ordering
@dataclass(frozen=True)
class Semver(Opaque):
    """A semantic version; what follows `+` does not count (semver.org, 10 and 11)."""

    kind: ClassVar[str] = "Semver"
    numbers: tuple[int, int, int]
    release: tuple[tuple[int, int, str], ...]  # labels as they sort; a version without any sorts last

    def __lt__(self, other: Semver) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[Any, ...]:
        return (self.numbers, not self.release, self.release)


def _parsed_semver(text: str, *, loose: bool = False) -> Semver | None:
    if loose and (found := _LOOSE.fullmatch(text)):
        numbers = ".".join(str(int(number or 0)) for number in found.groups()[:3] if len(number or "") < 20)
        text = f"{numbers}{found[4] or ''}"
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    labels = match[4].split(".") if match[4] else []
    if any(label.isdigit() and label != "0" and label.startswith("0") for label in labels):
        return None
    release = tuple((0, int(label[:64]), "") if label.isdigit() else (1, 0, label) for label in labels)
    return Semver((int(match[1]), int(match[2]), int(match[3])), release)


def _semver(text: str, loose: bool = False) -> Semver:
    parsed = _parsed_semver(text, loose=loose)
    if parsed is None:
        raise CelError(f"{text[:60]!r} is no semantic version")
    return parsed


_SEMVERS = (
    function("semver", _semver, "string -> Semver", cost=parsing),
    function("semver", _semver, "string, bool -> Semver", cost=parsing),
    function("isSemver", lambda text: _parsed_semver(text) is not None, "string -> bool", cost=parsing),
    function(
        "isSemver",
        lambda text, loose: _parsed_semver(text, loose=loose) is not None,
        "string, bool -> bool",
        cost=parsing,
    ),
    method("major", lambda version: version.numbers[0], "Semver -> int"),
    method("minor", lambda version: version.numbers[1], "Semver -> int"),
    method("patch", lambda version: version.numbers[2], "Semver -> int"),
)
_ORDERED = tuple(
    each
    for of in ("Quantity", "Semver")
    for each in (
        method("isGreaterThan", lambda one, other: one > other, f"{of}, {of} -> bool"),
        method("isLessThan", lambda one, other: one < other, f"{of}, {of} -> bool"),
        method("compareTo", _compared, f"{of}, {of} -> int"),
    )
)

# URLs


@dataclass(frozen=True)
class Url(Opaque):
    """An absolute URI, or an absolute path."""

    kind: ClassVar[str] = "URL"
    parts: SplitResult

    @property
    def host(self) -> str:
        """Host and port, without a user."""
        return self.parts.netloc.rpartition("@")[2]


def _parsed_url(text: str) -> Url | None:
    if not text.isprintable() or " " in text:
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError if it is no port
    except ValueError:
        return None
    is_path = not parts.scheme and text.startswith("/")
    return Url(parts) if is_path or (parts.scheme and (parts.netloc or parts.path.startswith("/"))) else None


def _url(text: str) -> Url:
    parsed = _parsed_url(text)
    if parsed is None:
        raise CelError(f"URL parse error during conversion from string: {text[:60]!r} is no absolute URI or path")
    return parsed


_URLS = (
    function("url", _url, "string -> URL", cost=parsing),
    function("isURL", lambda text: _parsed_url(text) is not None, "string -> bool", cost=parsing),
    method("getScheme", lambda url: url.parts.scheme, "URL -> string"),
    method("getHost", lambda url: url.host, "URL -> string"),
    method("getHostname", lambda url: url.parts.hostname or "", "URL -> string"),
    method("getPort", lambda url: "" if url.parts.port is None else str(url.parts.port), "URL -> string"),
    method("getEscapedPath", lambda url: quote(url.parts.path, safe="/%:@!$&'()*+,;=~"), "URL -> string"),
    method(
        "getQuery", lambda url: parse_qs(url.parts.query, keep_blank_values=True), "URL -> map(string, list(string))"
    ),
)

KUBERNETES: tuple[Overload, ...] = (*_lists(), *_QUANTITIES, *_SEMVERS, *_ORDERED, *_URLS)
SETS: tuple[Overload, ...] = _SETS
