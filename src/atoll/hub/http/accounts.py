"""Accounts over HTTP: what runs took, one JSON object per line, the oldest first.

    GET /accounts/records    the records: one per run, and one more for each day that it went on
    GET /accounts/days       their sums by day, namespace, queue and user

    since, until    an instant (2026-11-22T08:00:00Z), or how long ago (90m, 7d); since is 30 days ago if left out
    queue, user, namespace    only what says exactly this; user=me is who asks
    job             only this job, of the records

An Admin sees all; everybody else what is theirs, and what is in namespaces in which they have a role. Owns these
routes, the reading of their query, and who sees what. Answers are streamed: a year of records need not fit into memory.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atoll.federation.errors import AtollError
from atoll.hub.access.roles import ACCOUNTS_PATH
from atoll.hub.accounting.accounts import Accounts
from atoll.hub.accounting.book import Entry
from atoll.hub.accounting.sums import day_rows
from atoll.hub.http.instants import instant
from atoll.kubeapi.errors import BadRequest, Unavailable
from atoll.kubeapi.http.access import User

_DEFAULT_AGE = timedelta(days=30)
_TEXTS = ("queue", "user", "namespace", "job")
# The hub's clock says on which day a run ended, the server's when its record was stored.
_CLOCK_SKEW = timedelta(minutes=1)
_MEDIA = "application/x-ndjson"


class Insight(Protocol):
    """Tells who may see what; AccessService is one."""

    def is_admin(self, user: User) -> bool:
        """Tell whether a user may see everything."""

    def sees_inside(self, user: User, namespace: str) -> bool:
        """Tell whether a user may read what is in a namespace."""


@dataclass(frozen=True)
class AccountQuery:
    """Which accounts are wanted. Empty texts do not limit."""

    since: datetime
    until: datetime
    queue: str = ""
    user: str = ""
    namespace: str = ""
    job: str = ""

    def wants(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is wanted, by whom it is of."""
        return all(not wish or wish == row.get(name) for name in _TEXTS if (wish := getattr(self, name)))


class AccountRoutes:
    """Answers what was spent."""

    def __init__(self, accounts: Accounts, insight: Insight, *, clock: Callable[[], datetime]) -> None:
        self._accounts, self._insight, self._clock = accounts, insight, clock

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [
            Route(f"{ACCOUNTS_PATH}/records", self.records, methods=["GET"]),
            Route(f"{ACCOUNTS_PATH}/days", self.days, methods=["GET"]),
        ]

    async def records(self, request: Request) -> Response:
        """Stream records that ended in the time that is asked for."""
        user: User = request.state.user
        query = parse_query(request.query_params, now=self._clock(), user=user.name)
        try:
            batches = await self._accounts.records(query.since - _CLOCK_SKEW)
        except AtollError as error:
            raise _unreadable(error) from error
        return StreamingResponse(self._lines(batches, query, self._sight(user)), media_type=_MEDIA)

    async def days(self, request: Request) -> Response:
        """Give the sums of the days that are asked for, the first and the last as a whole."""
        user: User = request.state.user
        query = parse_query(request.query_params, now=self._clock(), user=user.name)
        if query.job:
            raise BadRequest("job: the sums of days are not by job: ask for the records")
        try:
            sums = await self._accounts.days()
        except AtollError as error:
            raise _unreadable(error) from error
        first, last = query.since.date(), query.until.date()
        rows = (row for day in sorted(sums.days) if first <= day <= last for row in day_rows(day, sums.days[day]))
        sight = self._sight(user)
        return StreamingResponse(
            iter([_encoded(row for row in rows if query.wants(row) and sight(row))]), media_type=_MEDIA
        )

    async def _lines(
        self,
        batches: AsyncGenerator[list[Entry], None],
        query: AccountQuery,
        sight: Callable[[Mapping[str, Any]], bool],
    ) -> AsyncIterator[bytes]:
        async with aclosing(batches):
            async for batch in batches:
                records = (entry.record for entry in batch if query.since <= entry.record.ended_at <= query.until)
                rows = (record.wire() for record in records)
                if lines := _encoded(row for row in rows if query.wants(row) and sight(row)):
                    yield lines

    def _sight(self, user: User) -> Callable[[Mapping[str, Any]], bool]:
        """Give who tells whether a row may be seen; each namespace is asked for once."""
        sees_all, inside = self._insight.is_admin(user), dict[str, bool]()

        def sees(row: Mapping[str, Any]) -> bool:
            if sees_all or row.get("user") == user.name:
                return True
            namespace = str(row["namespace"])
            if namespace not in inside:
                inside[namespace] = self._insight.sees_inside(user, namespace)
            return inside[namespace]

        return sees


def parse_query(parameters: Mapping[str, str], *, now: datetime, user: str) -> AccountQuery:
    """Read a query. Pure.

    Raises:
        BadRequest: a parameter is wrong; the message names it.
    """
    known = ("since", "until", *_TEXTS)
    for name in parameters:
        if name not in known:
            raise BadRequest(f"{name}: unknown parameter: use some of {', '.join(known)}")
    texts = {name: parameters.get(name, "") for name in _TEXTS}
    if texts["user"] == "me":
        texts["user"] = user
    since = instant(parameters, "since", now) or now - _DEFAULT_AGE
    until = instant(parameters, "until", now) or now
    if until < since:
        raise BadRequest("until: is before since")
    return AccountQuery(since.astimezone(UTC), until.astimezone(UTC), **texts)


def _encoded(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _unreadable(error: AtollError) -> Unavailable:
    return Unavailable(f"the accounts cannot be read now: {error}", retry_after_seconds=1)
