"""Which instants a weekly schedule means: is it awake, since when, and when does that change.

Owns the arithmetic of windows, time zones and daylight saving. Pure; it must not know what sleep means for anybody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from atoll.federation.resources.schedule import WEEKDAYS, AwakeWindow, Schedule

# A window of one day a week may fall into the hour that a clock skips, and then comes a fortnight after the last one.
_HORIZON = timedelta(days=15)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """Instants from `start` until just before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Hours:
    """Whether a schedule is awake at an instant, since when, and until when. None: for weeks, and so always."""

    is_awake: bool
    since: datetime | None
    until: datetime | None


def hours_at(schedule: Schedule, at: datetime) -> Hours:
    """Tell what a schedule says of an aware instant; windows that overlap or touch are one."""
    spans = _merged(sorted(_spans(schedule, at), key=lambda span: span.start))
    first, last = at - _HORIZON, at + _HORIZON
    for span in spans:
        if span.start <= at < span.end:
            return Hours(True, span.start if span.start > first else None, span.end if span.end < last else None)
    before = max((span.end for span in spans if span.end <= at), default=None)
    after = min((span.start for span in spans if span.start > at), default=None)
    return Hours(False, before, after)


def local_time(schedule: Schedule, at: datetime) -> str:
    """Write an instant for people, in the zone that the schedule is written in."""
    return f"{at.astimezone(ZoneInfo(schedule.time_zone)):%a %Y-%m-%d %H:%M} {schedule.time_zone}"


def _spans(schedule: Schedule, at: datetime) -> Iterator[Span]:
    """Give every window that begins within the horizon, and a day more."""
    zone = ZoneInfo(schedule.time_zone)
    today = at.astimezone(zone).date()
    reach = _HORIZON.days + 2
    for day in (today + timedelta(days=offset) for offset in range(-reach, reach + 1)):
        for window in schedule.awake:
            if WEEKDAYS[day.weekday()] in window.days:
                span = _span(window, day, zone)
                if span.start < span.end:
                    yield span


def _span(window: AwakeWindow, day: date, zone: ZoneInfo) -> Span:
    """Place a window on the day on which it begins.

    A time that comes twice begins a window the first time and ends one the second time. A time that a clock skips is
    as long after midnight as on other days (PEP 495).
    """
    next_day = window.until == "24:00" or window.until <= window.starts
    ends = time() if window.until == "24:00" else time.fromisoformat(window.until)
    start = datetime.combine(day, time.fromisoformat(window.starts), zone)
    end = datetime.combine(day + _DAY if next_day else day, ends, zone)
    return Span(start.astimezone(UTC), max(end.astimezone(UTC), end.replace(fold=1).astimezone(UTC)))


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
