"""Budget: how much a queue may spend in a period.

Owns this part of a Queue, in spec and status, and what one budget may say by itself. What was spent is for the hub's
accounts to tell.
"""

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from atoll.federation.resources.base import Model

CALENDAR_PERIODS = ("Day", "Week", "Month")
_DAYS = re.compile(r"[0-9]{1,3}d")
# Accounts are kept for this long unless told otherwise: a longer period would forget what was spent in it.
MOST_PERIOD_DAYS = 366
Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


class Budget(Model):
    """What a queue, with the queues below it, may spend in each period; a job that would exceed it waits."""

    period: str = Field(
        description="Day, Week (from Monday), Month, or whole days such as 14d. Days begin at midnight UTC, as those "
        "of the accounts do."
    )
    starts: date | None = Field(
        default=None, description="A day on which a period begins, such as 2026-04-15; the others follow from it."
    )
    gpu_hours: Amount | None = Field(default=None, description="GPUs times hours, of any model.")
    cpu_hours: Amount | None = Field(default=None, description="CPU cores times hours.")
    money: Amount | None = Field(default=None, description="By the costs of the clusters, in their currency.")
    egress_gib: Amount | None = Field(default=None, description="GiB that inputs bring out of other clusters.")

    @field_validator("period")
    @classmethod
    def _is_whole_days(cls, value: str) -> str:
        if value in CALENDAR_PERIODS:
            return value
        if not _DAYS.fullmatch(value) or not 1 <= int(value[:-1]) <= MOST_PERIOD_DAYS:
            raise ValueError(f"write Day, Week, Month, or whole days from 1d to {MOST_PERIOD_DAYS}d")
        return value

    @property
    def days(self) -> int | None:
        """How many days a period has; None for a calendar period."""
        return None if self.period in CALENDAR_PERIODS else int(self.period[:-1])

    @property
    def amounts(self) -> dict[str, float]:
        """What is limited, by its name on the wire."""
        named = {
            "gpuHours": self.gpu_hours,
            "cpuHours": self.cpu_hours,
            "money": self.money,
            "egressGib": self.egress_gib,
        }
        return {name: amount for name, amount in named.items() if amount is not None}

    @model_validator(mode="after")
    def _limits_something(self) -> "Budget":
        if not self.amounts:
            raise ValueError("a budget limits at least one of gpuHours, cpuHours, money and egressGib")
        return self


class SpentAmounts(Model):
    """An amount of everything that budgets speak of."""

    gpu_hours: float = Field(default=0.0, description="GPUs times hours.")
    cpu_hours: float = Field(default=0.0, description="CPU cores times hours.")
    money: float = Field(default=0.0, description="In the currency of the clusters' costs.")
    egress_gib: float = Field(default=0.0, description="GiB that left other clusters.")


class BudgetStatus(Model):
    """How one budget of the spec stands in the period that is now."""

    period: str = Field(description="The budget's period, as in the spec.")
    began_at: datetime = Field(description="When this period began.")
    renews_at: datetime = Field(description="When the next one begins.")
    spent: SpentAmounts = Field(default=SpentAmounts(), description="What the accounts have for this period.")
    expected: SpentAmounts = Field(
        default=SpentAmounts(), description="What runs that go on are expected to spend until their ends, beside that."
    )
