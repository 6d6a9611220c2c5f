"""Cron expressions: which instants they mean, in a time zone. The only door to cronsim. Pure.

Five fields as Debian's cron has them: a job at a time that a clock change skips runs when the clock has been moved, one
at a time that comes twice runs once.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS = 5  # cronsim takes a sixth, for seconds: too often for jobs
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def check_expression(expression: str) -> None:
    """Refuse what is no cron expression.

    Raises:
        ValueError: it is none, or it means no instant at all.
    """
    if len(expression.split()) != _FIELDS:
        raise ValueError(f"{expression!r}: write five fields, minute hour day month weekday, such as 30 2 * * 1-5")
    try:
        next(CronSim(expression, _SOME_DAY))
    except CronSimError as error:
        raise ValueError(f"{expression!r} is no cron expression: {error}") from error
    except StopIteration:
        raise ValueError(f"{expression!r} means no day that ever comes") from None


def next_after(expression: str, zone: str, at: datetime) -> datetime | None:
    """Give the first instant after `at`, in UTC; None if there is none."""
    found = next(CronSim(expression, at.astimezone(ZoneInfo(zone))), None)
    return found.astimezone(UTC) if found is not None else None


def due(expression: str, zone: str, *, after: datetime, until: datetime, most: int) -> tuple[datetime, ...]:
    """Give the instants after `after` and not after `until`, ascending, in UTC; of more than `most` the newest."""
    found: list[datetime] = []
    for instant in _backwards(expression, zone, until):
        if instant <= after or len(found) == most:
            break
        found.append(instant)
    return tuple(reversed(found))


def _backwards(expression: str, zone: str, until: datetime) -> Iterator[datetime]:
    """Give instants from `until` on into the past; cronsim leaves out the one that it begins at."""
    start = until.replace(microsecond=0) + timedelta(seconds=1)
    for instant in CronSim(expression, start.astimezone(ZoneInfo(zone)), reverse=True):
        yield instant.astimezone(UTC)
