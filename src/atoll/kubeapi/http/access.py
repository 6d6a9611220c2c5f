"""Who asks, whether they may, and who remembers it: the hooks for authentication, authorization, admission and audit.

Owns the seam and its answers' wording; the server that mounts the API hands in who decides. Without an authenticator
every caller is anonymous, without an authorizer everything is allowed: fit for loopback only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from starlette.requests import Request

from atoll.kubeapi.errors import Forbidden, Subject, Unauthorized, qualified
from atoll.kubeapi.http.target import Target, parse_target
from atoll.kubeapi.resource import Object

OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


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


@dataclass(frozen=True)
class Mutation:
    """One request that may change something, as its audit record names it. `at` is when it came in."""

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
    """What came of a mutation: HTTP status, reason of a refusal, and the name if the server chose it."""

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

    async def check(self, request: Request) -> User:
        """Return who sent the request. Raises Unauthorized, or Forbidden worded as Kubernetes words it."""
        if self.authenticator is None:
            user = ANONYMOUS
        else:
            known = await self.authenticator.authenticate(request)
            if known is None:
                raise Unauthorized("Unauthorized")
            user = known
        action = action_of(request)
        decision = await self.decide(user, action)
        if not decision.allowed:
            raise _forbidden(user, action, decision.reason)
        return user

    async def decide(self, user: User, action: Action) -> Decision:
        """Decide over one action; everything is allowed without an authorizer."""
        return Decision(True) if self.authorizer is None else await self.authorizer.authorize(user, action)


def action_of(request: Request) -> Action:
    """Return what a request asks for."""
    path: str = request.scope["path"]
    target = parse_target(path)
    if target is None:
        return Action(request.method.lower(), path)
    watches = request.query_params.get("watch", "") in ("1", "true")
    return Action(target.verb(request.method, watches=watches), path, target)


def _forbidden(user: User, action: Action, reason: str) -> Forbidden:
    tail = f": {reason}" if reason else ""
    if action.target is None:
        return Forbidden(f'forbidden: User "{user.name}" cannot {action.verb} path "{action.path}"{tail}')
    target = action.target
    resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    scope = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    about = qualified(target.group, target.plural) + (f' "{target.name}"' if target.name else "")
    return Forbidden(
        f'{about} is forbidden: User "{user.name}" cannot {action.verb} resource "{resource}" in API group '
        f'"{target.group}" {scope}{tail}',
        subject=Subject(target.group, target.plural, target.name),
    )
