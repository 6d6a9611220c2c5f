"""Numbers and times as people read them. Pure; everything is short, and one thing is always written the same way."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

_NOTHING = "\N{EN DASH}"
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def duration(seconds: float | None) -> str:
    """Write a time span by its largest unit, and the next where that says more: `42s`, `7m`, `2h 5m`, `3d`."""
    if seconds is None:
        return _NOTHING
    whole = int(abs(seconds))
    for index, (size, unit) in enumerate(_STEPS):
        if whole >= size:
            count, rest = divmod(whole, size)
            smaller = _STEPS[index + 1] if index + 1 < len(_STEPS) else None
            if smaller is None or count >= 10 or rest < smaller[0]:
                return f"{count}{unit}"
            return f"{count}{unit} {rest // smaller[0]}{smaller[1]}"
    return "0s"


def size(count: float | None) -> str:
    """Write bytes: `512 B`, `1.5 GiB`."""
    if count is None:
        return _NOTHING
    value = float(count)
    for unit in _BINARY:
        if abs(value) < 1024 or unit == _BINARY[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.0f}"


def rate(bytes_per_second: float | None) -> str:
    """Write a rate: `1.5 GiB/s`."""
    return _NOTHING if bytes_per_second is None else f"{size(bytes_per_second)}/s"


def number(value: float | None) -> str:
    """Write a count with thin spaces between thousands: `100 000`."""
    if value is None:
        return _NOTHING
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(part: float | None) -> str:
    """Write a part of one: `42 %`."""
    return _NOTHING if part is None else f"{part * 100:.0f}\N{NARROW NO-BREAK SPACE}%"


def seconds(value: float) -> str:
    """Write seconds of a score: tenths where they can tell two apart, `0.2`, `36`, `3\N{NARROW NO-BREAK SPACE}600`."""
    return number(value) if value >= 100 or value == int(value) else f"{value:.1f}"


def cores(millicores: float | None) -> str:
    """Write thousandths of a core as cores: `64`, `0.5`."""
    return _NOTHING if millicores is None else f"{millicores / 1000:.1f}".removesuffix(".0")


def instant(text: str | None) -> datetime | None:
    """Read an instant as objects hold it; None if there is none, or it cannot be read."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def since(then: datetime | None, now: datetime) -> float | None:
    """Give the seconds from an instant until now, 0 at least; None without one."""
    return None if then is None else max(0.0, (now - then).total_seconds())


def iso(then: datetime | None) -> str:
    """Write an instant as HTML's `time` wants it."""
    return "" if then is None else then.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def plural(count: float, one: str, many: str = "") -> str:
    """Write a count with its noun: `1 job`, `2 jobs`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "duration": duration,
    "size": size,
    "rate": rate,
    "number": number,
    "percent": percent,
    "cores": cores,
    "seconds": seconds,
    "iso": iso,
    "pair": lambda value: (value, value),
    "since": since,
    "plural": plural,
}
