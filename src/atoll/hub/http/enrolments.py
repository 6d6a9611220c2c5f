"""Members over HTTP: invite, enrol, send away. Owns these routes.

    POST   /access/enrolments             invite one: kind (cluster or gateway) and name; the answer holds the token
    POST   /enrol                         come in, by that token and nothing else: token, kind, name, publicKey
    DELETE /access/members/KIND/NAME      send one away

Who may invite and send away, access decides; `/enrol` is open to whoever has a token.
"""

from typing import Annotated, TypeVar

from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.federation.bus.admission import Enrolment
from atoll.federation.bus.subjects import MemberKind
from atoll.federation.errors import AtollError
from atoll.federation.errors import Conflict as Used
from atoll.federation.errors import InvalidInput as Refused
from atoll.federation.resources import API_GROUP
from atoll.federation.resources.base import Model
from atoll.federation.resources.validation import problems
from atoll.hub.field.desk import Desk
from atoll.kubeapi.errors import ApiError, Cause, Forbidden, Invalid, NotFound, Subject, Unavailable
from atoll.kubeapi.http.answers import value_answer
from atoll.kubeapi.http.negotiation import Form, read_body, received

M = TypeVar("M", bound=Model)
ENROL_PATH, INVITE_PATH = "/enrol", "/access/enrolments"
# A key, a name and a token. Whoever reaches the hub may send it: no more of it is read than there can be.
_MOST_BYTES = 8 * 1024
_UNSTORED = {"Cache-Control": "no-store"}
# Kubernetes' names (RFC 1123 subdomains): nothing else can be the name of a Cluster or a Gateway.
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class Invitation(Model):
    """Who is invited."""

    kind: MemberKind
    name: Annotated[str, Field(max_length=253, pattern=_NAME)]


class EnrolmentRoutes:
    """Answers requests about members."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [
            Route(INVITE_PATH, self.invite, methods=["POST"]),
            Route(ENROL_PATH, self.enrol, methods=["POST"]),
            Route("/access/members/{kind}/{name}", self.leave, methods=["DELETE"]),
        ]

    async def invite(self, request: Request) -> Response:
        """Invite a member."""
        wanted = _read(Invitation, await _body(request))
        try:
            token, expires_at = await self._desk.invite(wanted.kind, wanted.name, created_by=request.state.user.name)
        except AtollError as error:
            raise _translated(error) from error
        request.state.name = wanted.name  # for the audit record
        answer = {"kind": wanted.kind, "name": wanted.name, "token": token, "expiresAt": expires_at.isoformat()}
        response = value_answer(answer, Form(), code=201)
        response.headers.update(_UNSTORED)
        return response

    async def enrol(self, request: Request) -> Response:
        """Let a member in."""
        wanted = _read(Enrolment, await _body(request))
        try:
            admission = await self._desk.enrol(wanted)
        except AtollError as error:
            raise _translated(error) from error
        return Response(admission.encode(), 201, media_type="application/json", headers=_UNSTORED)

    async def leave(self, request: Request) -> Response:
        """Send a member away."""
        kind, name = request.path_params["kind"], request.path_params["name"]
        wanted = _read(Invitation, {"kind": kind, "name": name})
        try:
            was_member = await self._desk.leave(wanted.kind, wanted.name)
        except AtollError as error:
            raise _translated(error) from error
        if not was_member:
            raise NotFound(f"{kind} {name} is no member: nothing to send away")
        return value_answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, Form())


async def _body(request: Request) -> object:
    return read_body(await received(request, most=_MOST_BYTES), request.headers.get("content-type", ""))


def _read(model: type[M], body: object) -> M:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        causes = (Cause(fault.field, fault.message, fault.reason) for fault in problems(error, model))
        raise Invalid.of(Subject(API_GROUP, model.__name__), causes) from error


def _translated(error: AtollError) -> ApiError:
    match error:
        case Refused() | Used():
            return Forbidden(str(error))
    return Unavailable(str(error), retry_after_seconds=1)
