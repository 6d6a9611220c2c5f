"""Questions about access: may I (`kubectl auth can-i`), what may I (`--list`), may somebody else, who am I (`whoami`).

Owns these answers; who decides is in access.py. Nothing is stored. A review of somebody else is a request like any
other: whoever may create `subjectaccessreviews` may ask.
Source: Kubernetes documentation "Authorization"; k8s.io/api authorization/v1 and authentication/v1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.kubeapi import protobuf
from atoll.kubeapi.errors import BadRequest, Cause, Invalid
from atoll.kubeapi.http.access import Access, Action, Rule, User
from atoll.kubeapi.http.answers import value_answer
from atoll.kubeapi.http.negotiation import Form, negotiate, read_body, received
from atoll.kubeapi.http.target import Target
from atoll.kubeapi.protobuf import Field, Message, texts
from atoll.kubeapi.resource import ResourceType

_AUTHORIZATION, _AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"
_ATTRIBUTES: Message = {
    1: Field(
        "resourceAttributes",
        "message",
        of=texts(namespace=1, verb=2, group=3, version=4, resource=5, subresource=6, name=7),
    ),
    2: Field("nonResourceAttributes", "message", of=texts(path=1, verb=2)),
}
_OF_OTHERS: Message = {
    **_ATTRIBUTES,
    3: Field("user"),
    4: Field("groups", repeated=True),
    5: Field("extra", "map", of={2: Field("value", "texts")}),
    6: Field("uid"),
}


def _review_type(kind: str, spec: Message, *, group: str = _AUTHORIZATION, namespaced: bool = False) -> ResourceType:
    shape = {1: Field("metadata", "message", of=protobuf.OBJECT_META), 2: Field("spec", "message", of=spec)}
    name = kind.lower()
    return ResourceType(group, "v1", kind, f"{name}s", name, namespaced, protobuf=shape, verbs=("create",))


_MAY_I = _review_type("SelfSubjectAccessReview", _ATTRIBUTES)
_WHAT_MAY_I = _review_type("SelfSubjectRulesReview", texts(namespace=1))
_MAY_THEY = _review_type("SubjectAccessReview", _OF_OTHERS)
_MAY_THEY_HERE = _review_type("LocalSubjectAccessReview", _OF_OTHERS, namespaced=True)
_WHO_AM_I = _review_type("SelfSubjectReview", {}, group=_AUTHENTICATION)
REVIEWS = (_MAY_I, _WHAT_MAY_I, _MAY_THEY, _MAY_THEY_HERE, _WHO_AM_I)
"""The resources that are questions: discovery names them, no store holds them."""


def is_review(action: Action) -> bool:
    """Say whether an action only asks about access."""
    target = action.target
    return target is not None and any((rt.group, rt.plural) == (target.group, target.plural) for rt in REVIEWS)


class Reviews:
    """Answers reviews."""

    def __init__(self, access: Access) -> None:
        """Answer by what `access` decides."""
        self._access = access

    def routes(self) -> list[Route]:
        """Return the routes of the reviews."""
        handlers = {
            _MAY_I: self.may_i,
            _WHAT_MAY_I: self.what_may_i,
            _MAY_THEY: self.may_they,
            _MAY_THEY_HERE: self.may_they_here,
            _WHO_AM_I: self.who_am_i,
        }
        return [Route(_path(rt), handler, methods=["POST"]) for rt, handler in handlers.items()]

    async def may_i(self, request: Request) -> Response:
        """Answer whether the caller may do what the review names."""
        spec = await _spec(request, _MAY_I)
        return await self._decided(request, _MAY_I, spec, request.state.user)

    async def may_they(self, request: Request) -> Response:
        """Answer whether somebody may do what the review names."""
        spec = await _spec(request, _MAY_THEY)
        return await self._decided(request, _MAY_THEY, spec, _subject(_MAY_THEY, spec))

    async def may_they_here(self, request: Request) -> Response:
        """Answer the same for one namespace."""
        spec, namespace = await _spec(request, _MAY_THEY_HERE), request.path_params["namespace"]
        attributes = spec.get("resourceAttributes")
        if not isinstance(attributes, dict) or attributes.get("namespace") != namespace:
            why = f"Invalid value: must be the namespace of the request, {namespace}"
            raise _invalid(_MAY_THEY_HERE, "spec.resourceAttributes.namespace", why)
        return await self._decided(request, _MAY_THEY_HERE, spec, _subject(_MAY_THEY_HERE, spec))

    async def what_may_i(self, request: Request) -> Response:
        """Answer with all that the caller may do in a namespace."""
        spec = await _spec(request, _WHAT_MAY_I)
        namespace = str(spec.get("namespace") or "")
        if not namespace:
            raise BadRequest("no namespace on request")  # as kube-apiserver words it
        rules = await self._access.rules(request.state.user, namespace)
        return _answer(request, _WHAT_MAY_I, spec=spec, status=_listed(rules))

    async def who_am_i(self, request: Request) -> Response:
        """Answer who the caller is."""
        await _spec(request, _WHO_AM_I)
        user: User = request.state.user
        info: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            info["uid"] = user.uid
        if user.extra:
            info["extra"] = {name: list(values) for name, values in user.extra.items()}
        return _answer(request, _WHO_AM_I, status={"userInfo": info})

    async def _decided(self, request: Request, rt: ResourceType, spec: dict[str, Any], user: User) -> Response:
        decision = await self._access.decide(user, _action(rt, spec))
        status: dict[str, Any] = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return _answer(request, rt, spec=spec, status=status)


def _path(rt: ResourceType) -> str:
    place = "namespaces/{namespace}/" if rt.namespaced else ""
    return f"/apis/{rt.api_version}/{place}{rt.plural}"


async def _spec(request: Request, rt: ResourceType) -> dict[str, Any]:
    content_type = request.headers.get("content-type", "")
    review = read_body(await received(request), content_type, shape=rt.protobuf)
    spec = (review.get("spec") or {}) if isinstance(review, dict) else None
    if not isinstance(spec, dict):
        raise BadRequest("a review must be an object, and so must its spec")
    return spec


def _action(rt: ResourceType, spec: Mapping[str, Any]) -> Action:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict) and path is None:
        names = ("group", "version", "resource", "name", "subresource")
        parts = {name: str(resource.get(name) or "") for name in names}
        plural, namespace = parts.pop("resource"), str(resource.get("namespace") or "") or None
        return Action(str(resource.get("verb") or ""), "", Target(plural=plural, namespace=namespace, **parts))
    if isinstance(path, dict) and resource is None:
        return Action(str(path.get("verb") or ""), str(path.get("path") or ""))
    why = "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified"
    raise _invalid(rt, "spec.resourceAttributes", why)


def _subject(rt: ResourceType, spec: Mapping[str, Any]) -> User:
    """Return whom a review asks about, exactly as it names them: no group is added."""
    name, groups, extra = spec.get("user") or "", spec.get("groups") or [], spec.get("extra") or {}
    if not name and not groups:
        raise _invalid(rt, "spec.user", "Invalid value: at least one of user or group must be specified")
    if not isinstance(groups, list) or not isinstance(extra, dict):
        raise BadRequest("spec.groups must be a list, and spec.extra must be an object")
    values = {str(key): tuple(map(str, each)) for key, each in extra.items() if isinstance(each, list)}
    return User(str(name), tuple(map(str, groups)), str(spec.get("uid") or ""), values)


def _listed(rules: Sequence[Rule]) -> dict[str, Any]:
    resources = [
        {
            "verbs": list(rule.verbs),
            "apiGroups": list(rule.groups),
            "resources": list(rule.resources),
            **({"resourceNames": list(rule.names)} if rule.names else {}),
        }
        for rule in rules
        if rule.resources
    ]
    paths = [{"verbs": list(rule.verbs), "nonResourceURLs": list(rule.paths)} for rule in rules if rule.paths]
    return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}


def _invalid(rt: ResourceType, field: str, message: str) -> Invalid:
    return Invalid.of(rt.object_subject(""), [Cause(field, message)])


def _answer(request: Request, rt: ResourceType, **parts: Any) -> Response:
    form = Form(negotiate(request.headers.get("accept", "")).media_type)
    review = {"kind": rt.kind, "apiVersion": rt.api_version, "metadata": {}, **parts}
    return value_answer(review, form, code=201)
