"""How commands write when something was: as an age for people, as an instant for programs."""

from datetime import UTC, datetime

from atoll.federation.capacity import format_duration


def instant(at: datetime | None) -> str | None:
    """Write an instant as JSON has it."""
    return at.isoformat() if at is not None else None


def age(at: datetime | None) -> str:
    """Say how long ago something was, as kubectl does."""
    if at is None:
        return "never"
    return format_duration(max(0, round((datetime.now(UTC) - at).total_seconds())))
