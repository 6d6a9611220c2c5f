"""Charges runs that go on for the days that are over, so that history and budgets need not wait for their ends."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from atoll.federation.errors import AtollError
from atoll.federation.resources import FINISHED_RUN_PHASES, Job, Run
from atoll.hub.accounting.accounts import Accounts
from atoll.hub.accounting.closing import charge_of
from atoll.hub.client import Client
from atoll.hub.parsing import Unreadable

log = structlog.get_logger(__name__)

# Days change once a day. Shorter: all runs are looked at for nothing. Longer: yesterday looks cheap in the morning.
_EVERY_SECONDS = 300.0


class DailyCharges:
    """Writes the records of days that are over; only the leading hub does."""

    def __init__(self, client: Client, accounts: Accounts, *, clock: Callable[[], datetime]) -> None:
        self._client, self._accounts, self._clock = client, accounts, clock

    async def run(self) -> None:
        """Look now and then, for ever."""
        await self._accounts.loaded.wait()
        while True:
            try:
                await self.charge()
            except AtollError as error:
                log.warning("days of runs could not be charged", reason=error.reason, error=str(error))
            await asyncio.sleep(_EVERY_SECONDS)

    async def charge(self) -> None:
        """Charge every run that has run into another day.

        Raises:
            Unavailable: NATS does not answer; the same again does no harm.
        """
        now, going_on = self._clock(), self._accounts.going_on
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for run in await self._client.list_unfinished(Run, FINISHED_RUN_PHASES):
            until, created = going_on.get(run.metadata.uid or ""), run.metadata.creation_timestamp
            is_of_today = created is None or created >= midnight or (until is not None and until >= midnight)
            if is_of_today or run.status.started_at is None:
                continue
            with contextlib.suppress(Unreadable):  # it is charged when it has been mended; the others are now
                job = await self._client.get(Job, run.metadata.namespace, run.spec.job)
                await self._accounts.charge_days(await charge_of(self._client, run, job, is_told=False, now=now))
