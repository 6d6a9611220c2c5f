"""Who asks, whether they may, and who remembers it: the hooks for authentication, authorization, admission and audit.

Owns the seam and its answers' wording; the server that mounts the API hands in who decides. Without an authenticator
every caller is anonymous, without an authorizer everything is allowed: fit for loopback only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from starlette.requests import Request

from atoll.kubeapi.errors import Forbidden, Subject, Unauthorized, qualified
from atoll.kubeapi.http.target import Target, parse_target, truth
from atoll.kubeapi.resource import Object


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def authenticated(self) -> User:
        """Return the user with the group that says whether it is known, as every server of Kubernetes gives it."""
        if AUTHENTICATED in self.groups or UNAUTHENTICATED in self.groups:
            return self
        known = UNAUTHENTICATED if self.name == ANONYMOUS.name else AUTHENTICATED
        return replace(self, groups=(*self.groups, known))


AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


@dataclass(frozen=True)
class Action:
    """What is asked for: a verb on a resource (`target`), or on a plain path."""

    verb: str
    path: str
    target: Target | None = None


@dataclass(frozen=True)
class Decision:
    """Whether it is allowed, and if not why."""

    allowed: bool
    reason: str = ""


class Authenticator(Protocol):
    """Tells who asks."""

    async def authenticate(self, request: Request) -> User | None:
        """Return who sent the request, or None if the credentials are missing or wrong."""


@dataclass(frozen=True)
class Rule:
    """Something that is allowed, as `kubectl auth can-i --list` shows it: on resources, or on plain `paths`.

    `*` stands for all; `names` empty means every object.
    """

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


EVERYTHING = (Rule(("*",), groups=("*",), resources=("*",)), Rule(("*",), paths=("*",)))


class Authorizer(Protocol):
    """Tells what is allowed."""

    async def authorize(self, user: User, action: Action) -> Decision:
        """Decide over one action."""

    async def rules(self, user: User, namespace: str) -> Sequence[Rule]:
        """Return all that the user may do in one namespace and at the cluster scope."""


class Admission(Protocol):
    """Tells whether a caller may store this very object, where a request's path does not show it all."""

    def admit(self, user: User, action: Action, new: Object, old: Object | None) -> Decision:
        """Decide over one object as it would be stored, defaults included; `old` is None on create. Pure."""


class Stamp(Protocol):
    """Writes into objects what only the server knows, such as who made them."""

    def stamp(self, user: User, action: Action, new: Object, old: Object | None) -> None:
        """Change `new` in place before it is admitted and stored; `old` is None on create. Nothing else may be read."""


@dataclass(frozen=True)
class Mutation:
    """One request that may change something, as its audit record names it. `at` is when it came in.

    The client reads `id` in the answer's `Audit-Id`. A deletion may say only in its body that it is a dry run: then
    `dry_run` is true at the end and not yet at the begin.
    """

    id: str
    at: datetime
    user: User
    action: Action
    source: str
    user_agent: str = ""
    dry_run: bool = False
    acting: User | None = None
    """Who really sent it, if `user` is impersonated."""


@dataclass(frozen=True)
class Outcome:
    """What came of a mutation: HTTP status, reason of a refusal, and the name of what was created.

    The code is 499 if the client went away before it had sent all.
    """

    code: int
    reason: str = ""
    message: str = ""
    name: str = ""


class Auditor(Protocol):
    """Remembers mutations."""

    async def begin(self, mutation: Mutation) -> None:
        """Record durably that this is asked for, before anything is changed. Raises Unavailable, and nothing is."""

    async def end(self, mutation: Mutation, outcome: Outcome) -> None:
        """Record what came of it; also called without `begin` for a request that access refused."""


@dataclass(frozen=True)
class Access:
    """The hooks together."""

    authenticator: Authenticator | None = None
    authorizer: Authorizer | None = None
    admission: Admission | None = None
    auditor: Auditor | None = None
    # (method, path) of plain routes that answer anybody: what they take is proof enough, such as a one-time token.
    open_routes: frozenset[tuple[str, str]] = frozenset()
    stamp: Stamp | None = None

    async def authenticate(self, request: Request) -> User:
        """Return who sent the request. Raises Unauthorized."""
        if self.authenticator is None:
            return ANONYMOUS
        user = await self.authenticator.authenticate(request)
        if user is None:
            raise Unauthorized("Unauthorized")
        return user.authenticated()

    async def authorize(self, user: User, action: Action) -> None:
        """Raise Forbidden unless the user may do it."""
        enforce(user, action, await self.decide(user, action))

    async def decide(self, user: User, action: Action) -> Decision:
        """Decide over one action; everything is allowed without an authorizer."""
        return Decision(True) if self.authorizer is None else await self.authorizer.authorize(user, action)

    async def rules(self, user: User, namespace: str) -> Sequence[Rule]:
        """Return all that the user may do in one namespace; everything without an authorizer."""
        return EVERYTHING if self.authorizer is None else await self.authorizer.rules(user, namespace)

    def admit(self, user: User, action: Action, new: Object, old: Object | None) -> None:
        """Stamp an object, and refuse one that the user may not store. Raises Forbidden, in the words of Kubernetes."""
        if self.stamp is not None:
            self.stamp.stamp(user, action, new, old)
        if self.admission is None:
            return
        decision = self.admission.admit(user, action, new, old)
        if not decision.allowed:
            raise _not_admitted(action, new, decision.reason)


def action_of(request: Request) -> Action:
    """Return what a request with a canonical path asks for."""
    path: str = request.scope["path"]
    target = parse_target(path)
    if target is None:
        return Action(request.method.lower(), path)
    watches = bool(truth(request.query_params.get("watch")))
    return Action(target.verb(request.method, watches=watches), path, target)


def enforce(user: User, action: Action, decision: Decision) -> None:
    """Raise Forbidden, worded as Kubernetes words it, unless the decision allows the action."""
    if decision.allowed:
        return
    tail = f": {decision.reason}" if decision.reason else ""
    if action.target is None:
        raise Forbidden(f'forbidden: User "{user.name}" cannot {action.verb} path "{action.path}"{tail}')
    target = action.target
    resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    is_namespace = (target.group, target.plural) == ("", "namespaces")
    namespace = target.name if is_namespace else target.namespace  # Kubernetes: a namespace is in itself
    scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    about = qualified(target.group, target.plural) + (f' "{target.name}"' if target.name else "")
    raise Forbidden(
        f'{about} is forbidden: User "{user.name}" cannot {action.verb} resource "{resource}" in API group '
        f'"{target.group}" {scope}{tail}',
        subject=Subject(target.group, target.plural, target.name),
    )


def _not_admitted(action: Action, new: Object, reason: str) -> Forbidden:
    assert action.target is not None, "only what is stored is admitted"
    group, plural, name = action.target.group, action.target.plural, str(new["metadata"].get("name", ""))
    why = reason or "the server's admission refuses it"
    return Forbidden(f'{qualified(group, plural)} "{name}" is forbidden: {why}', subject=Subject(group, plural, name))
