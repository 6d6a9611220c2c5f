"""A small real access control, and a server with it: users by token, rules by user and namespace, records in memory."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from starlette.requests import Request
from starlette.routing import BaseRoute

from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access, Action, Admission, Decision, Mutation, Outcome, Rule, User
from atoll.kubeapi.store import Store
from atoll.local.certificates import Pair, issue_ca, issue_server, new_key
from kubeapi.conftest import VERSION, Finished, Kubectl, serving

EVERYWHERE = None
ALL = Rule(("*",), ("*",), ("*",))
ALL_PATHS = Rule(("*",), paths=("*",))
DISCOVERY = Rule(("get",), paths=("/api", "/apis", "/api/*", "/apis/*", "/openapi/*", "/version"))
SELF = Rule(("create",), ("authorization.k8s.io", "authentication.k8s.io"), (
    "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews",
))  # fmt: skip
READS = ("get", "list", "watch")


@dataclass
class Users:
    """Knows users by their tokens, and what each user or group may do in which namespace."""

    known: dict[str, User] = field(default_factory=dict)
    granted: dict[str, list[tuple[str | None, Rule]]] = field(default_factory=dict)
    asked: list[Action] = field(default_factory=list)

    async def authenticate(self, request: Request) -> User | None:
        return self.known.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    async def authorize(self, user: User, action: Action) -> Decision:
        self.asked.append(action)
        namespace = action.target.namespace if action.target else None
        if any(_covers(rule, action) for rule in await self.rules(user, namespace or "")):
            return Decision(True, "a rule allows it")
        return Decision(False)

    async def rules(self, user: User, namespace: str) -> list[Rule]:
        granted = [each for name in (user.name, *user.groups) for each in self.granted.get(name, ())]
        return [rule for where, rule in granted if where in (EVERYWHERE, namespace)]


def _covers(rule: Rule, action: Action) -> bool:
    target = action.target
    if not _has(rule.verbs, action.verb):
        return False
    if target is None:
        return any(
            action.path == path or (path[-1] == "*" and action.path.startswith(path[:-1])) for path in rule.paths
        )
    resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    is_named = not rule.names or target.name in rule.names
    return _has(rule.groups, target.group) and _has(rule.resources, resource) and is_named


def _has(names: Sequence[str], name: str) -> bool:
    return "*" in names or name in names


@dataclass
class Records:
    """Keeps audit records in the order they came; `is_full` refuses new ones."""

    begun: list[Mutation] = field(default_factory=list)
    ended: list[tuple[Mutation, Outcome]] = field(default_factory=list)
    is_full: bool = False

    async def begin(self, mutation: Mutation) -> None:
        if self.is_full:
            raise Unavailable("no audit record can be written")
        self.begun.append(mutation)

    async def end(self, mutation: Mutation, outcome: Outcome) -> None:
        self.ended.append((mutation, outcome))


def alice_and_bob() -> Users:
    """Alice may do everything, bob may ask about himself and read config maps in `default`."""
    users = Users({"a": User("alice", ("admins",), "u-1", {"team": ("x", "y")}), "b": User("bob")})
    users.granted["alice"] = [(EVERYWHERE, ALL), (EVERYWHERE, ALL_PATHS)]
    users.granted["system:authenticated"] = [(EVERYWHERE, DISCOVERY), (EVERYWHERE, SELF)]
    users.granted["bob"] = [("default", Rule(READS, ("",), ("configmaps",)))]
    return users


@dataclass
class World:
    """A server with access control."""

    url: str
    users: Users
    records: Records
    home: Path
    authority: Path | None = None

    def http(self, token: str = "a", **headers: str) -> httpx.AsyncClient:
        """Return a client that shows a token."""
        shown = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, timeout=20, headers={**shown, **headers})

    async def kubectl(self, token: str, *arguments: str, stdin: str = "") -> Finished:
        """Run kubectl with a token, which it shows to servers with TLS only."""
        assert self.authority is not None
        trust = ("--certificate-authority", str(self.authority), "--token", token)
        return await Kubectl(self.url, self.home)(*trust, *arguments, stdin=stdin)


@contextlib.asynccontextmanager
async def running(
    store: Store,
    home: Path,
    *,
    tls: bool = False,
    admission: Admission | None = None,
    extra_routes: Sequence[BaseRoute] = (),
) -> AsyncIterator[World]:
    """Serve a store to alice and bob."""
    users, records = alice_and_bob(), Records()
    access = Access(users, users, admission, records)
    app = create_app(store, store.registry, version=VERSION, access=access, extra_routes=extra_routes)
    files = dict(certificate(home)) if tls else {}
    authority = files.pop("ca", None)
    async with serving(app, store, **{name: str(path) for name, path in files.items()}) as url:
        yield World(url, users, records, home, authority)


def certificate(folder: Path) -> Mapping[str, Path]:
    """Write a certificate for loopback with its key, and the CA that vouches for it."""
    ca_key, key, now = new_key(), new_key(), datetime.now(UTC)
    authority = Pair(issue_ca(ca_key, now=now), ca_key)
    files = {"ca": folder / "ca.crt", "ssl_certfile": folder / "server.crt", "ssl_keyfile": folder / "server.key"}
    files["ca"].write_bytes(authority.certificate)
    files["ssl_certfile"].write_bytes(issue_server(authority, key, names=["127.0.0.1"], now=now))
    files["ssl_keyfile"].write_bytes(key)
    return files
