"""Audit records over HTTP: `GET /access/audit`, one joined record per line of JSON, the newest last.

    since, until    an instant (2026-11-22T08:00:00Z), or how long ago (90m, 7d); since is a day ago if left out
    user, verb, resource, namespace, name    only records that say exactly this; resource may be jobs or jobs/status
    failed=true     only what was refused, failed, or has no known end
    limit=N         only the newest N, at most 10000; all if left out
    follow=true     go on with what comes

An Admin sees the records of all, everybody else their own: what was asked by them, or by an Admin in their name.
Owns this route, the reading of its query and who sees what.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atoll.hub.access.audit import AuditLog
from atoll.hub.access.audit_records import AuditQuery, Record
from atoll.hub.access.roles import AUDIT_PATH
from atoll.hub.http.instants import instant
from atoll.kubeapi.errors import BadRequest, Forbidden
from atoll.kubeapi.http.access import User

_DEFAULT_AGE = timedelta(days=1)
_MOST_RECORDS = 10_000
_TEXTS = ("user", "verb", "resource", "namespace", "name")
_PARAMETERS = ("since", "until", *_TEXTS, "failed", "limit", "follow")


class AuditRecords:
    """Answers who did what."""

    def __init__(self, log: AuditLog, *, is_admin: Callable[[User], bool], clock: Callable[[], datetime]) -> None:
        self._log, self._is_admin, self._clock = log, is_admin, clock

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route(AUDIT_PATH, self.read, methods=["GET"])]

    async def read(self, request: Request) -> Response:
        """Stream the records that are asked for."""
        user: User = request.state.user
        own = None if self._is_admin(user) else user.name
        query = parse_query(request.query_params, now=self._clock(), own=own)
        batches = await self._log.read(query)
        return StreamingResponse(_lines(batches), media_type="application/x-ndjson")


async def _lines(batches: AsyncGenerator[list[Record], None]) -> AsyncIterator[bytes]:
    async with aclosing(batches):
        async for batch in batches:
            yield b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in batch)


def parse_query(parameters: Mapping[str, str], *, now: datetime, own: str | None) -> AuditQuery:
    """Read a query. Pure.

    Args:
        own: whose records alone may be seen; None for everybody's.

    Raises:
        BadRequest: a parameter is wrong; the message names it. Forbidden: it asks for the records of others.
    """
    for name in parameters:
        if name not in _PARAMETERS:
            raise BadRequest(f"{name}: unknown parameter: use some of {', '.join(_PARAMETERS)}")
    query = AuditQuery(
        since=instant(parameters, "since", now) or now - _DEFAULT_AGE,
        until=instant(parameters, "until", now),
        failed=_flag(parameters, "failed"),
        limit=_limit(parameters),
        follow=_flag(parameters, "follow"),
        own=own,
        **{name: parameters.get(name, "") for name in _TEXTS},
    )
    if query.follow and query.until is not None:
        raise BadRequest("until: contradicts follow: leave one of them out")
    if query.until is not None and query.until < query.since:
        raise BadRequest("until: is before since")
    if own is not None and query.user not in ("", own):
        raise Forbidden(f'user: only an Admin sees the audit records of others; you are "{own}"')
    return query


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    text = parameters.get(name, "")
    if text not in ("", "0", "1", "true", "false"):
        raise BadRequest(f"{name}: Invalid value: {text[:80]!r}: must be true or false")
    return text in ("1", "true")


def _limit(parameters: Mapping[str, str]) -> int | None:
    text = parameters.get("limit", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= _MOST_RECORDS:
        raise BadRequest(f"limit: Invalid value: {text[:80]!r}: must be a whole number from 1 to {_MOST_RECORDS}")
    return int(text)
