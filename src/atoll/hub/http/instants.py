"""Instants in queries over HTTP: a date with its zone, or how long ago. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from atoll.federation.capacity import parse_duration
from atoll.federation.errors import InvalidInput
from atoll.kubeapi.errors import BadRequest


def instant(parameters: Mapping[str, str], name: str, now: datetime) -> datetime | None:
    """Read a parameter; None if it is not given.

    Raises:
        BadRequest: it is neither an instant nor a duration, or lies where no calendar reaches.
    """
    text = parameters.get(name, "")
    if not text:
        return None
    found = _ago(text, now) or _iso(text)
    if found is None or not 1970 <= found.year < 9999:  # what lies outside cannot be reckoned with
        expected = "an instant such as 2026-11-22T08:00:00Z, or how long ago, such as 90m or 7d"
        raise BadRequest(f"{name}: Invalid value: {text[:80]!r}: must be {expected}")
    return found.astimezone(UTC)


def _ago(text: str, now: datetime) -> datetime | None:
    try:
        return now - timedelta(seconds=parse_duration(text))
    except (InvalidInput, OverflowError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
