"""The audit: each request that may change something is recorded before it is carried out, and what came of it after.

Owns which requests are recorded and what a record says; who keeps the records is in access.py. Reads pass by.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from starlette.datastructures import State
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atoll.kubeapi.errors import ApiError, Forbidden, Internal
from atoll.kubeapi.http.access import Action, Auditor, Mutation, Outcome, User
from atoll.kubeapi.http.answers import error_answer
from atoll.kubeapi.http.reviews import is_review

log = logging.getLogger(__name__)

CLIENT_GONE = 499  # as nginx names it: HTTP has no status for an answer that nobody waits for
_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection", "post", "put"})
_ABORTED = Outcome(CLIENT_GONE, "Aborted", "the request was broken off before it was answered")
_FAILED = Outcome(Internal.code, Internal.reason, "the server failed; its log says why")
# What an answer begins with: a WebSocket is accepted, or refused with an answer of HTTP.
_STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_SWITCHED = 101
_MAX_USER_AGENT = 256
_MAX_MESSAGE = 1024  # a refusal may list hundreds of faults; the record says that and of what kind


class Wire(NamedTuple):
    """One exchange of ASGI: a request with its answer, or a WebSocket."""

    scope: Scope
    receive: Receive
    send: Send


class Audit:
    """Has requests recorded; without an auditor it lets them pass."""

    def __init__(self, auditor: Auditor | None, clock: Callable[[], datetime]) -> None:
        """Keep records by `auditor`, with the times of `clock`."""
        self._auditor = auditor
        self._clock = clock

    def mutation(self, request: Request, action: Action, *, user: User, acting: User | None) -> Mutation | None:
        """Describe a request for its record; None if none is kept of it."""
        if self._auditor is None or action.verb not in _VERBS or is_review(action):
            return None
        return Mutation(
            id=str(uuid.uuid4()),
            at=self._clock(),
            user=user,
            action=action,
            source=request.client.host if request.client else "",
            user_agent=request.headers.get("user-agent", "")[:_MAX_USER_AGENT],
            dry_run=request.query_params.get("dryRun") == "All",
            acting=acting,
        )

    async def refuse(self, wire: Wire, mutation: Mutation | None, error: Forbidden) -> None:
        """Answer with an error of access, and record that."""
        if mutation is None:
            await error_answer(error)(*wire)
            return
        await error_answer(error)(wire.scope, wire.receive, _Answer(wire.send, mutation.id))
        await self._end(mutation, Outcome(error.code, error.reason, error.message))

    async def carry_out(self, app: ASGIApp, wire: Wire, state: State, mutation: Mutation | None) -> None:
        """Let `app` answer the request between the two halves of its record.

        The handlers leave in the request's `state` what a record says besides the status: `error`, the ApiError that
        is the answer; `name`, of the object that was created; `dry_run`. Raises ApiError, with nothing changed, if
        the request cannot be recorded.
        """
        if self._auditor is None or mutation is None:
            await app(*wire)
            return
        await self._auditor.begin(mutation)
        answer = _Answer(wire.send, mutation.id)
        try:
            await app(wire.scope, wire.receive, answer)
        except asyncio.CancelledError:
            await self._end(mutation, _ABORTED)
            raise
        except Exception:
            await self._end(mutation, _FAILED)
            raise
        if getattr(state, "dry_run", False):
            mutation = replace(mutation, dry_run=True)
        await self._end(mutation, _outcome(state, answer.code))

    async def _end(self, mutation: Mutation, outcome: Outcome) -> None:
        assert self._auditor is not None, "only what is recorded has an end"
        try:
            await self._auditor.end(mutation, replace(outcome, message=outcome.message[:_MAX_MESSAGE]))
        except ApiError as error:  # the answer is sent already, and the begin stands
            log.error("the outcome of a request could not be recorded", extra={"audit_id": mutation.id}, exc_info=error)


class _Answer:
    """Sends an answer on, named by its record, and keeps its status."""

    def __init__(self, send: Send, audit_id: str) -> None:
        self._send = send
        self._id = audit_id.encode()
        self.code = CLIENT_GONE

    async def __call__(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self.code = message.get("status", _SWITCHED)
            message = {**message, "headers": [*message.get("headers", ()), (b"audit-id", self._id)]}
        await self._send(message)


def _outcome(state: State, code: int) -> Outcome:
    if code == CLIENT_GONE:
        return _ABORTED
    error: ApiError | None = getattr(state, "error", None)
    name = str(getattr(state, "name", ""))
    return Outcome(code, name=name) if error is None else Outcome(code, error.reason, error.message, name)
