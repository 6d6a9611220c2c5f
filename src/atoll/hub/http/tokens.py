"""Tokens over HTTP: issue, list, revoke. Owns these routes, and what is wrong with a request for a token.

    POST   /access/tokens        issue one: user, groups, role with namespaces and queues, expiresAt or lifetimeSeconds,
                                 description; the answer is the only one that ever holds the token
    GET    /access/tokens        all of them, without their secrets
    DELETE /access/tokens/ID     revoke one

`?dryRun=All` checks and changes nothing. Who may do this, access decides; it is an Admin's.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, AwareDatetime, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.federation.errors import InvalidInput
from atoll.federation.resources import API_GROUP
from atoll.federation.resources.base import Model
from atoll.federation.resources.validation import FieldProblem, problems
from atoll.hub.access.grant import Grant
from atoll.hub.access.identity import RESERVED_PREFIXES
from atoll.hub.access.token_table import Tokens
from atoll.hub.access.tokens import DEFAULT_LIFETIME, LONGEST_LIFETIME, Draft, TokenRecord
from atoll.kubeapi.errors import BadRequest, Cause, Invalid, NotFound, Subject
from atoll.kubeapi.http.answers import value_answer
from atoll.kubeapi.http.negotiation import Form, read_body, received

_PATH = "/access/tokens"
_GRANT_FIELDS = ("role", "namespaces", "queues")
# Nobody else between here and the caller may keep what is shown once (RFC 9111, section 5.2.2.5).
_UNSTORED = {"Cache-Control": "no-store"}


def _checked_name(name: str) -> str:
    if not name.isprintable() or name != name.strip():
        raise ValueError("must be printable, without blanks at its ends")
    if name.startswith(RESERVED_PREFIXES):
        raise ValueError(f"names that begin with {', '.join(RESERVED_PREFIXES)} are not given by tokens")
    return name


Name = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_checked_name)]


class TokenRequest(Model):
    """A request for a token, without the fields of its grant."""

    user: Name
    groups: tuple[Name, ...] = Field(default=(), max_length=100)
    expires_at: AwareDatetime | None = None
    lifetime_seconds: int | None = Field(default=None, ge=60)
    description: str = Field(default="", max_length=1024)


class TokenRoutes:
    """Answers requests about tokens."""

    def __init__(self, tokens: Tokens, *, clock: Callable[[], datetime]) -> None:
        self._tokens, self._clock = tokens, clock

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [
            Route(_PATH, self.issue, methods=["POST"]),
            Route(_PATH, self.list, methods=["GET"]),
            Route(f"{_PATH}/{{id}}", self.revoke, methods=["DELETE"]),
        ]

    async def issue(self, request: Request) -> Response:
        """Issue a token."""
        body = read_body(await received(request), request.headers.get("content-type", ""))
        draft = read_draft(body, self._clock())
        if _is_dry_run(request):
            return value_answer(_shown_draft(draft), Form(), code=201)
        record, token = await self._tokens.issue(draft, created_by=request.state.user.name)
        request.state.name = record.id  # for the audit record
        answer = value_answer({**_shown(record), "token": token}, Form(), code=201)
        answer.headers.update(_UNSTORED)
        return answer

    async def list(self, _request: Request) -> Response:
        """List the tokens."""
        return value_answer({"items": [_shown(record) for record in self._tokens.all()]}, Form())

    async def revoke(self, request: Request) -> Response:
        """Revoke a token."""
        token_id = request.path_params["id"]
        if not await self._tokens.revoke(token_id, dry_run=_is_dry_run(request)):
            raise NotFound.of(API_GROUP, "tokens", token_id)
        return value_answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, Form())


def read_draft(body: object, now: datetime) -> Draft:
    """Turn the body of a request into a token that may be issued; every fault is named at once. Pure.

    Raises:
        BadRequest: it is no map. Invalid: it breaks rules.
    """
    if not isinstance(body, Mapping):
        raise BadRequest('the body must be a map such as {"user": "alice", "role": "Viewer"}')
    faults: list[FieldProblem] = []
    wanted, grant = _request(body, faults), _grant(body, faults)
    if wanted is not None:
        faults += _time_problems(wanted, now)
    if wanted is None or faults:
        causes = (Cause(fault.field, fault.message, fault.reason) for fault in faults)
        raise Invalid.of(Subject(API_GROUP, "Token"), causes)
    return Draft(wanted.user, wanted.groups, grant, wanted.description, _expiry(wanted, now))


def _request(body: Mapping[str, Any], faults: list[FieldProblem]) -> TokenRequest | None:
    try:
        return TokenRequest.model_validate({key: body[key] for key in body if key not in _GRANT_FIELDS})
    except ValidationError as error:
        faults += problems(error, TokenRequest)
        return None


def _grant(body: Mapping[str, Any], faults: list[FieldProblem]) -> Grant | None:
    given = {key: body[key] for key in _GRANT_FIELDS if body.get(key) is not None}
    try:
        return Grant.parse(given) if given else None
    except InvalidInput as error:
        faults += [problem for problem in error.problems if isinstance(problem, FieldProblem)]
        return None


def _time_problems(wanted: TokenRequest, now: datetime) -> Iterator[FieldProblem]:
    field = "expiresAt" if wanted.lifetime_seconds is None else "lifetimeSeconds"
    if wanted.expires_at is not None and wanted.lifetime_seconds is not None:
        yield FieldProblem(field, "expiresAt says the same: give one of them", "FieldValueForbidden")
        return
    if wanted.lifetime_seconds is not None and wanted.lifetime_seconds > LONGEST_LIFETIME.total_seconds():
        yield FieldProblem(field, f"must be at most {LONGEST_LIFETIME.days} days")
    if wanted.expires_at is not None and wanted.expires_at <= now:
        yield FieldProblem(field, f"must be in the future; here it is {now:%Y-%m-%dT%H:%M:%SZ}")
    elif wanted.expires_at is not None and wanted.expires_at > now + LONGEST_LIFETIME:
        yield FieldProblem(field, f"must be at most {LONGEST_LIFETIME.days} days ahead")


def _expiry(wanted: TokenRequest, now: datetime) -> datetime:
    if wanted.expires_at is not None:
        return wanted.expires_at.astimezone(UTC)
    lifetime = wanted.lifetime_seconds
    return now + (DEFAULT_LIFETIME if lifetime is None else timedelta(seconds=lifetime))


def _shown(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "user": record.user,
        "groups": record.groups,
        **(orjson.loads(record.grant) if record.grant else {}),
        "description": record.description,
        "createdAt": _instant(record.created_at),
        "createdBy": record.created_by,
        "expiresAt": _instant(record.expires_at),
    }


def _shown_draft(draft: Draft) -> dict[str, Any]:
    return {
        "user": draft.user,
        "groups": draft.groups,
        **(draft.grant.to_json() if draft.grant else {}),
        "description": draft.description,
        "expiresAt": _instant(draft.expires_at),
    }


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_dry_run(request: Request) -> bool:
    """Read dryRun as Kubernetes does. Raises BadRequest for anything but `All`."""
    asked = request.query_params.get("dryRun", "")
    if asked not in ("", "All"):
        raise BadRequest(f"dryRun: Invalid value: {asked!r}: must be All")
    return asked == "All"
