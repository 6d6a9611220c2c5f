"""Uplink: what a gateway may take of the link to its hub, and when.

Owns the model. Which limit holds at an instant is edge/gateway/bandwidth's.
"""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, field_validator

from atoll.federation.resources.base import Model, NonNegative
from atoll.federation.resources.schedule import END_PATTERN, TIME_PATTERN, WEEKDAYS, Weekday

_MOST_WINDOWS = 32
# Slower, and one full envelope takes longer than its deadline.
_LEAST_RATE = 1_000


def _rate(value: int) -> int:
    if 0 < value < _LEAST_RATE:
        raise ValueError(f"bytesPerSecond is at least {_LEAST_RATE}, or 0 for nothing at all")
    return value


class UplinkWindow(Model):
    """Hours of a week that have a limit of their own; until a time that is not after `from`: on the next day."""

    days: tuple[Weekday, ...] = Field(
        default=WEEKDAYS, min_length=1, description="The days on which the window begins; all if left out."
    )
    starts: Annotated[str, StringConstraints(pattern=TIME_PATTERN)] = Field(
        alias="from", description='When it begins, such as "08:00".'
    )
    until: Annotated[str, StringConstraints(pattern=END_PATTERN)] = Field(
        alias="to", description='When it ends, such as "18:00" or "24:00".'
    )
    bytes_per_second: NonNegative | None = Field(
        default=None, description="The limit in this window; 0: nothing is sent; absent: no limit."
    )

    @field_validator("bytes_per_second")
    @classmethod
    def _is_usable(cls, value: int | None) -> int | None:
        return value if value is None else _rate(value)


class UplinkSpec(Model):
    """How a gateway sends to its hub. It takes in from its broker at all times."""

    bytes_per_second: NonNegative | None = Field(
        default=None, description="Limit outside the windows; 0: nothing is sent then; absent: no limit."
    )
    windows: tuple[UplinkWindow, ...] = Field(
        default=(), max_length=_MOST_WINDOWS, description="Hours with another limit; of several the first counts."
    )
    time_zone: str = Field(
        default="UTC", description="Zone of the windows' times, by its IANA name, such as Europe/Berlin."
    )
    compression: Literal["None", "Zstd"] = Field(
        default="Zstd", description="Of readings, from the outbox to the sink; what it would not make smaller stays."
    )

    @field_validator("bytes_per_second")
    @classmethod
    def _is_usable(cls, value: int | None) -> int | None:
        return value if value is None else _rate(value)

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:  # unknown, no such path, or a folder of zones ("Europe")
            raise ValueError("must be the IANA name of a time zone, such as Europe/Berlin or UTC") from error
        return value
