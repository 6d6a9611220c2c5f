"""Questions about access: may I do this (`kubectl auth can-i`), and who am I (`kubectl auth whoami`).

Owns these two answers; who decides is in access.py. Nothing is stored.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.kubeapi import protobuf
from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.http.access import Access, Action
from atoll.kubeapi.http.answers import value_answer
from atoll.kubeapi.http.negotiation import Form, negotiate, read_body, received
from atoll.kubeapi.http.target import Target
from atoll.kubeapi.protobuf import Field, texts

_RESOURCE = texts(namespace=1, verb=2, group=3, version=4, resource=5, subresource=6, name=7)
_SPEC = {
    1: Field("resourceAttributes", "message", of=_RESOURCE),
    2: Field("nonResourceAttributes", "message", of=texts(path=1, verb=2)),
}
_METADATA = Field("metadata", "message", of=protobuf.OBJECT_META)
_ACCESS_SHAPE = {1: _METADATA, 2: Field("spec", "message", of=_SPEC)}
_SUBJECT_SHAPE = {1: _METADATA}


class Reviews:
    """Answers reviews of the caller's own access."""

    def __init__(self, access: Access) -> None:
        """Answer by what `access` decides."""
        self._access = access

    def routes(self) -> list[Route]:
        """Return the routes of the reviews."""
        may = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        return [Route(may, self.may_i, methods=["POST"]), Route(who, self.who_am_i, methods=["POST"])]

    async def may_i(self, request: Request) -> Response:
        """Answer whether the caller may do what the review names."""
        review = await _review(request, _ACCESS_SHAPE)
        decision = await self._access.decide(request.state.user, _action(review.get("spec") or {}))
        status: dict[str, Any] = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        answer = {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": review.get("spec") or {},
            "status": status,
        }
        return value_answer(answer, _form(request), code=201)

    async def who_am_i(self, request: Request) -> Response:
        """Answer who the caller is."""
        await _review(request, _SUBJECT_SHAPE)
        user = request.state.user
        info: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            info["uid"] = user.uid
        if user.extra:
            info["extra"] = {name: list(values) for name, values in user.extra.items()}
        answer = {
            "kind": "SelfSubjectReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "status": {"userInfo": info},
        }
        return value_answer(answer, _form(request), code=201)


async def _review(request: Request, shape: protobuf.Message) -> dict[str, Any]:
    content_type = request.headers.get("content-type", "")
    review = read_body(await received(request), content_type, shape=shape)
    if not isinstance(review, dict):
        raise BadRequest("a review must be an object")
    return review


def _action(spec: Any) -> Action:
    resource = spec.get("resourceAttributes") if isinstance(spec, dict) else None
    if isinstance(resource, dict):
        parts = {
            name: str(resource.get(name) or "") for name in ("group", "version", "resource", "name", "subresource")
        }
        plural, namespace = parts.pop("resource"), str(resource.get("namespace") or "") or None
        return Action(str(resource.get("verb") or ""), "", Target(plural=plural, namespace=namespace, **parts))
    path = spec.get("nonResourceAttributes") if isinstance(spec, dict) else None
    if isinstance(path, dict):
        return Action(str(path.get("verb") or ""), str(path.get("path") or ""))
    raise BadRequest("spec: exactly one of resourceAttributes and nonResourceAttributes must be specified")


def _form(request: Request) -> Form:
    return Form(negotiate(request.headers.get("accept", "")).media_type)
