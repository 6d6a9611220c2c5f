"""When a cluster is meant to be up: weekly windows in one time zone.

Owns the model and what may be written in it. Which instants that means is federation/schedule's.
"""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, field_validator

from atoll.federation.resources.base import Model

Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
WEEKDAYS: tuple[Weekday, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
END_PATTERN = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
_MOST_WINDOWS = 32


def checked_zone(value: str) -> str:
    """Refuse what is no time zone, for a field's validator."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:  # unknown, no such path, or a folder of zones ("Europe")
        raise ValueError("must be the IANA name of a time zone, such as Europe/Berlin or UTC") from error
    return value


class AwakeWindow(Model):
    """From a time of day until another; one that does not come later in the day is on the next day."""

    days: tuple[Weekday, ...] = Field(
        default=WEEKDAYS, min_length=1, description="The days on which the window begins; all if left out."
    )
    starts: Annotated[str, StringConstraints(pattern=TIME_PATTERN)] = Field(
        alias="from",
        description='When it begins, such as "07:00". Allow a machine the time that it takes to start: one that is '
        "not heard a heartbeat time-out later counts as lost.",
    )
    until: Annotated[str, StringConstraints(pattern=END_PATTERN)] = Field(
        description='When it ends, such as "19:00" or "24:00"; on the next day if that is not after '
        "`from`: equal times make a window of 24 hours."
    )


class Schedule(Model):
    """When the cluster is awake. Outside these windows its silence is sleep, and no failure."""

    time_zone: str = Field(
        default="UTC", description="Zone of the times below, by its IANA name, such as Europe/Berlin."
    )
    awake: tuple[AwakeWindow, ...] = Field(
        min_length=1, max_length=_MOST_WINDOWS, description="The weekly windows; they may overlap."
    )

    _zone = field_validator("time_zone")(checked_zone)
