"""Conversions between types, sizes, optionals, and the functions of time.

Owns the standard functions that are not about text.
Source: cel-spec langdef.md, "List of standard definitions"; Go's strconv and time packages for the texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from atoll.kubeapi.cel.operators import checked_int, checked_uint
from atoll.kubeapi.cel.overloads import Overload, constant, function, method
from atoll.kubeapi.cel.values import NONE, CelError, Optional, TypeValue, kind_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"([-+]?)((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|[-+]?0", re.ASCII)
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DOUBLE = re.compile(r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_MICROSECONDS = {"ns": 1e-3, "us": 1, "µs": 1, "μs": 1, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)


def _from_text(convert: Callable[[str], Any], kind: str) -> Callable[[str], Any]:
    def call(text: str) -> Any:
        try:
            return convert(text)
        except (ValueError, OverflowError):
            raise CelError(f"cannot convert {text[:60]!r} to {kind}") from None

    return call


def _int_of_text(text: str) -> int:
    if not re.fullmatch(r"[-+]?\d{1,20}", text, re.ASCII):
        raise ValueError(text)
    return checked_int(int(text))


def _uint_of_text(text: str) -> int:
    if not re.fullmatch(r"\d{1,20}", text, re.ASCII):
        raise ValueError(text)
    return checked_uint(int(text))


def _double_of_text(text: str) -> float:
    if not _DOUBLE.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _whole(value: float) -> int:
    if not math.isfinite(value):
        raise CelError("integer overflow")
    return int(value)


def _bool_of_text(text: str) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(text)
    return text in _TRUE


def _text_of_double(value: float) -> str:
    """Write a number as Go's strconv does with 'g' and the shortest precision."""
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    text = repr(value)
    if text.endswith(".0"):
        text = text[:-2]
    if abs(value) >= 1e21 or (value and abs(value) < 1e-4):
        return text
    return format(value, "f").rstrip("0").rstrip(".") if "e" in text else text


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CelError("invalid UTF-8 in bytes, cannot convert to string") from None


def instant(text: str) -> datetime:
    """Return an instant of RFC 3339; digits below microseconds are dropped. Raises ValueError or OverflowError."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    date, time, fraction, offset = match.groups()
    return datetime.fromisoformat(f"{date}T{time}.{fraction or '0':0<6}{offset.upper()}").astimezone(UTC)


def span(text: str) -> timedelta:
    """Return a duration as Go writes it, such as `1h30m` or `-1.5s`. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    total = sum(float(number) * _MICROSECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    return timedelta(microseconds=round(-total if text.startswith("-") else total))


def _text_of_instant(value: datetime) -> str:
    text = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f".{value.microsecond:06}".rstrip("0") if value.microsecond else ""
    return f"{text}{fraction}Z"


def _text_of_span(value: timedelta) -> str:
    microseconds = value // timedelta(microseconds=1)
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    return f"{'-' if microseconds < 0 else ''}{seconds}{fraction}s"


def _instant_of_seconds(seconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise CelError("timestamp overflow") from None


_CONVERSIONS = (
    function("dyn", lambda value: value, "dyn -> dyn", cost=constant),
    function("type", lambda value: TypeValue(kind_of(value)), "dyn -> type", cost=constant),
    function("int", lambda value: value, "int -> int"),
    function("int", lambda value: checked_int(int(value)), "uint -> int"),
    function("int", lambda value: checked_int(_whole(value)), "double -> int"),
    function("int", _from_text(_int_of_text, "int"), "string -> int"),
    function("int", lambda value: (value - _EPOCH) // timedelta(seconds=1), "timestamp -> int"),
    function("uint", lambda value: value, "uint -> uint"),
    function("uint", checked_uint, "int -> uint"),
    function("uint", lambda value: checked_uint(_whole(value)), "double -> uint"),
    function("uint", _from_text(_uint_of_text, "uint"), "string -> uint"),
    *(function("double", float, f"{kind} -> double") for kind in ("double", "int", "uint")),
    function("double", _from_text(_double_of_text, "double"), "string -> double"),
    function("bool", lambda value: value, "bool -> bool"),
    function("bool", _from_text(_bool_of_text, "bool"), "string -> bool"),
    function("string", lambda value: value, "string -> string"),
    function("string", lambda value: "true" if value else "false", "bool -> string"),
    *(function("string", str, f"{kind} -> string") for kind in ("int", "uint")),
    function("string", _text_of_double, "double -> string"),
    function("string", _text_of_bytes, "bytes -> string"),
    function("string", _text_of_instant, "timestamp -> string"),
    function("string", _text_of_span, "duration -> string"),
    function("bytes", lambda value: value, "bytes -> bytes"),
    function("bytes", str.encode, "string -> bytes"),
    function("timestamp", lambda value: value, "timestamp -> timestamp"),
    function("timestamp", _from_text(instant, "timestamp"), "string -> timestamp"),
    function("timestamp", _instant_of_seconds, "int -> timestamp"),
    function("duration", lambda value: value, "duration -> duration"),
    function("duration", _from_text(span, "duration"), "string -> duration"),
    *(function("size", len, f"{kind} -> int", cost=constant) for kind in ("string", "bytes", "list", "map")),
)


# parts of instants and durations


def _zone(name: str) -> tzinfo:
    match = _OFFSET.fullmatch(name)
    try:
        if match is None:
            return ZoneInfo(name)
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    except (ValueError, KeyError, OSError):
        raise CelError(f"unknown time zone {name[:60]}") from None


_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda at: at.year,
    "getMonth": lambda at: at.month - 1,
    "getDate": lambda at: at.day,
    "getDayOfMonth": lambda at: at.day - 1,
    "getDayOfWeek": lambda at: at.isoweekday() % 7,
    "getDayOfYear": lambda at: at.timetuple().tm_yday - 1,
    "getHours": lambda at: at.hour,
    "getMinutes": lambda at: at.minute,
    "getSeconds": lambda at: at.second,
    "getMilliseconds": lambda at: at.microsecond // 1000,
}
_SPAN_UNITS = {"getHours": 3_600_000_000, "getMinutes": 60_000_000, "getSeconds": 1_000_000}


def _in_utc(part: Callable[[datetime], int]) -> Callable[[datetime], int]:
    return lambda at: part(at.astimezone(UTC))


def _in_zone(part: Callable[[datetime], int]) -> Callable[[datetime, str], int]:
    def call(at: datetime, zone: str) -> int:
        try:
            return part(at.astimezone(_zone(zone)))
        except OverflowError:
            raise CelError("timestamp overflow") from None

    return call


def _microseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1)


def _whole_units(unit: int) -> Callable[[timedelta], int]:
    return lambda value: int(math.copysign(abs(_microseconds(value)) // unit, _microseconds(value)))


def _milliseconds(value: timedelta) -> int:
    return int(math.copysign(abs(_microseconds(value)) // 1000 % 1000, _microseconds(value)))


_TIMES = (
    *(method(name, _in_utc(part), "timestamp -> int") for name, part in _PARTS.items()),
    *(method(name, _in_zone(part), "timestamp, string -> int") for name, part in _PARTS.items()),
    *(method(name, _whole_units(unit), "duration -> int") for name, unit in _SPAN_UNITS.items()),
    method("getMilliseconds", _milliseconds, "duration -> int"),
)


# optionals


def _value_of(optional: Optional) -> Any:
    if not optional.has_value:
        raise CelError("optional.none() dereference")
    return optional.value


def _of_non_zero(value: Any) -> Optional:
    return Optional(True, value) if value or isinstance(value, TypeValue) else NONE


_OPTIONALS = (
    function("optional.of", lambda value: Optional(True, value), "dyn -> optional", cost=constant),
    function("optional.none", lambda: NONE, "-> optional"),
    function("optional.ofNonZeroValue", _of_non_zero, "dyn -> optional", cost=constant),
    method("hasValue", lambda optional: optional.has_value, "optional -> bool"),
    method("value", _value_of, "optional -> dyn"),
)

CONVERSIONS: tuple[Overload, ...] = (*_CONVERSIONS, *_TIMES, *_OPTIONALS)
