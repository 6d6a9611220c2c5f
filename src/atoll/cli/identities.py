"""Who the hub takes a caller for: its answer read, and said in words."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import SERVER_VARIABLE, TOKEN_VARIABLE, find, open_context
from atoll.cli.options import Output
from atoll.cli.output import say, to_yaml
from atoll.federation.errors import Forbidden, NotFound
from atoll.federation.resources.rolebinding import RoleBinding
from atoll.local.kubeconfig import Context
from atoll.local.pki import ADMIN_GROUP

_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_REVIEW_BODY = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
_GRANT_EXTRA = "atoll.dev/grant"  # under which the hub says what a token grants by itself


@dataclass(frozen=True)
class Role:
    """One role with its limits; empty means everywhere."""

    role: str
    namespaces: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it as a person would."""
        where = f" in {', '.join(self.namespaces)}" if self.namespaces else ""
        through = f" through {', '.join(self.queues)}" if self.queues else ""
        return f"{self.role}{where}{through}"


@dataclass(frozen=True)
class Identity:
    """A user with its groups, and its roles as far as they could be read."""

    user: str
    groups: tuple[str, ...]
    roles: tuple[Role, ...]

    def wire(self) -> dict[str, Any]:
        """Give the form for `-o json`."""
        roles = [
            {"role": role.role, "namespaces": list(role.namespaces), "queues": list(role.queues)} for role in self.roles
        ]
        return {"user": self.user, "groups": list(self.groups), "roles": roles}


def identify(api: Api) -> Identity:
    """Ask the hub who we are.

    Raises:
        Unauthorized: it does not know us.
    """
    info = api.create(_REVIEW, dict(_REVIEW_BODY))["status"]["userInfo"]
    return Identity(info["username"], tuple(info.get("groups", ())), tuple(dict.fromkeys(roles(info, _bindings(api)))))


def roles(info: Mapping[str, Any], bindings: Iterable[RoleBinding]) -> Iterator[Role]:
    """Tell a user's roles: the administrators' group, what its token carries, what bindings say. Pure."""
    groups = info.get("groups", ())
    if ADMIN_GROUP in groups:
        yield Role("Admin")
    for text in info.get("extra", {}).get(_GRANT_EXTRA, ()):
        yield _role(orjson.loads(text))
    subjects = {("User", info["username"]), *(("Group", group) for group in groups)}
    for binding in bindings:
        if subjects & {(subject.kind, subject.name) for subject in binding.spec.subjects}:
            yield Role(binding.spec.role, binding.spec.namespaces, binding.spec.queues)


def describe(identity: Identity) -> Iterator[str]:
    """Say who somebody is, line by line."""
    yield f"you are {identity.user} (groups: {', '.join(identity.groups) or 'none'})"
    shown = "; ".join(str(role) for role in identity.roles)
    yield f"role: {shown}" if shown else "role: none that you could see; an administrator grants one by a RoleBinding"


def show(choice: HubChoice, output: Output) -> None:
    """Print who the hub takes us for."""
    context = find(choice)
    with open_context(context) as api:
        identity = identify(api)
    if output is Output.TABLE:
        for line in describe(identity):
            say(line)
        say(f"hub: {context.server}{_source(choice, context)}")
        return
    answer = {**identity.wire(), "server": context.server, "context": context.name}
    as_json = orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode
    say(as_json() if output is Output.JSON else to_yaml(answer).rstrip())


def _source(choice: HubChoice, context: Context) -> str:
    """Say what decided who asks: a context's name, or the variables that go before it."""
    if context.name:
        return f" (context {context.name})"
    used = [f"${TOKEN_VARIABLE}"] if os.environ.get(TOKEN_VARIABLE) else []
    if not (choice.server or choice.home):
        used.insert(0, f"${SERVER_VARIABLE}")
    return f" ({' and '.join(used)})" if used else ""


def _bindings(api: Api) -> list[RoleBinding]:
    """Read the bindings, where we may."""
    try:
        items = api.get(kinds.atoll("RoleBinding").collection())["items"]
    except (Forbidden, NotFound):
        return []
    return [RoleBinding.model_validate(item) for item in items]


def _role(grant: Mapping[str, Any]) -> Role:
    return Role(grant["role"], tuple(grant.get("namespaces", ())), tuple(grant.get("queues", ())))
