"""Service accounts of one simulated cluster: the tokens that pods are given, and what RBAC lets their holders do.

Owns both, for the API server's secure port, which pods reach it by. The plain port asks nobody who they are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.http.access import AUTHENTICATED, Action, Decision, Rule, User
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING

_PREFIX = "system:serviceaccount"
# What everybody may read, as ClusterRole system:discovery says (kubernetes.io: RBAC, API discovery roles).
_OPEN = ("/api", "/apis", "/openapi", "/healthz", "/livez", "/readyz", "/version")


class Accounts:
    """kubeapi's Authenticator: knows the tokens that it gave."""

    def __init__(self) -> None:
        """Make a key for this life of the cluster."""
        self._key = secrets.token_bytes(32)

    def token(self, namespace: str, name: str) -> str:
        """Give the token of a service account."""
        who = f"{namespace}:{name}".encode()
        return f"{_encoded(who)}.{_encoded(self._signature(who))}"

    async def authenticate(self, request: Request) -> User | None:
        """Tell whose token a request shows; None if it shows none of ours."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        who, _, signature = token.partition(".")
        try:
            account = base64.urlsafe_b64decode(who)
            is_ours = hmac.compare_digest(base64.urlsafe_b64decode(signature), self._signature(account))
        except ValueError:
            return None
        if scheme.lower() != "bearer" or not is_ours:
            return None
        namespace, _, name = account.decode().partition(":")
        return User(f"{_PREFIX}:{namespace}:{name}", (f"{_PREFIX}s", f"{_PREFIX}s:{namespace}"))

    def _signature(self, account: bytes) -> bytes:
        return hmac.digest(self._key, account, hashlib.sha256)


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


class Rbac:
    """kubeapi's Authorizer: what the roles of the cluster say."""

    def __init__(self, store: Store) -> None:
        """Read roles and bindings from `store`."""
        self._store = store

    async def authorize(self, user: User, action: Action) -> Decision:
        """Allow what a rule allows that is bound to the user."""
        namespace = action.target.namespace if action.target is not None else None
        is_allowed = _is_open(action) or any([_allows(rule, action) async for rule in self._rules(user, namespace)])
        return Decision(is_allowed)

    async def rules(self, user: User, namespace: str) -> Sequence[Rule]:
        """Return all that the user may do in one namespace and at the cluster scope."""
        return [_rule(rule) async for rule in self._rules(user, namespace)]

    async def _rules(self, user: User, namespace: str | None) -> AsyncIterator[Mapping[str, Any]]:
        bindings = list((await self._store.list(CLUSTER_ROLE_BINDING)).items)
        if namespace is not None:
            bindings += (await self._store.list(ROLE_BINDING, namespace)).items
        for binding in bindings:
            if any(_is_subject(user, subject, binding) for subject in binding.get("subjects", ())):
                for rule in await self._role(binding):
                    yield rule

    async def _role(self, binding: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        reference, namespace = binding["roleRef"], binding["metadata"].get("namespace")
        is_local = reference["kind"] == "Role"
        try:
            role = await self._store.get(
                ROLE if is_local else CLUSTER_ROLE, namespace if is_local else None, reference["name"]
            )
        except NotFound:
            return ()
        found: Sequence[Mapping[str, Any]] = role.get("rules") or ()
        return found


def _is_subject(user: User, subject: Mapping[str, Any], binding: Mapping[str, Any]) -> bool:
    if subject["kind"] == "ServiceAccount":
        namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
        return user.name == f"{_PREFIX}:{namespace}:{subject['name']}"
    if subject["kind"] == "Group":
        return subject["name"] in (*user.groups, AUTHENTICATED)
    return bool(user.name == subject["name"])


def _is_open(action: Action) -> bool:
    is_read = action.verb in ("get", "head") and action.target is None
    return is_read and action.path.startswith(_OPEN)


def _allows(rule: Mapping[str, Any], action: Action) -> bool:
    """Tell whether one PolicyRule covers an action (kubernetes: pkg/registry/rbac/validation, RuleAllows)."""
    if not _covers(rule.get("verbs", ()), action.verb):
        return False
    target = action.target
    if target is None:
        paths = rule.get("nonResourceURLs", ())
        return any(path == action.path or _is_prefix(path, action.path) for path in paths)
    resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    resources = (resource, f"*/{target.subresource}") if target.subresource else (resource,)
    names = rule.get("resourceNames", ())
    return (
        _covers(rule.get("apiGroups", ()), target.group)
        and any(_covers(rule.get("resources", ()), each) for each in resources)
        and (not names or target.name in names)
    )


def _is_prefix(pattern: str, path: str) -> bool:
    return pattern.endswith("*") and path.startswith(pattern[:-1])


def _covers(allowed: Sequence[str], wanted: str) -> bool:
    return "*" in allowed or wanted in allowed


def _rule(rule: Mapping[str, Any]) -> Rule:
    return Rule(
        verbs=tuple(rule.get("verbs", ())),
        groups=tuple(rule.get("apiGroups", ())),
        resources=tuple(rule.get("resources", ())),
        names=tuple(rule.get("resourceNames", ())),
        paths=tuple(rule.get("nonResourceURLs", ())),
    )
