"""What the `token` commands do: ask the hub for a token, show those there are, revoke one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from atoll.cli import watching
from atoll.cli.api import Json
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import connect, find, open_context
from atoll.cli.identities import Role
from atoll.cli.options import Output
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.capacity import format_duration, parse_duration
from atoll.local.home import Home
from atoll.local.kubeconfig import Context
from atoll.local.pki import Pki

_PATH = "/access/tokens"
_HEADERS = ("ID", "USER", "ROLE", "NAMESPACES", "QUEUES", "EXPIRES IN", "AGE")
_WIDE = (*_HEADERS[:-1], "GROUPS", "ISSUED BY", "FOR", "AGE")


@dataclass(frozen=True)
class Wanted:
    """A token as a person asks for it."""

    user: str
    role: str
    namespaces: tuple[str, ...]
    queues: tuple[str, ...]
    groups: tuple[str, ...]
    lifetime: str
    description: str

    def body(self) -> Json:
        """Give the request, without what was left out.

        Raises:
            InvalidInput: the lifetime is no duration.
        """
        given: dict[str, Any] = {
            "user": self.user,
            "role": self.role,
            "namespaces": list(self.namespaces),
            "queues": list(self.queues),
            "groups": list(self.groups),
            "description": self.description,
        }
        seconds = int(parse_duration(self.lifetime))
        return {**{key: value for key, value in given.items() if value}, "lifetimeSeconds": seconds}


def issue(choice: HubChoice, wanted: Wanted, *, dry_run: bool) -> None:
    """Issue a token: the secret alone goes to stdout, so that it can be piped; what it is goes to stderr."""
    body = wanted.body()
    context = find(choice)
    with open_context(context) as api:
        made = api.create(_PATH, body, dry_run=dry_run)
    if dry_run:
        hint(f"a token for {_facts(made)} would be issued (dry run)")
        return
    say(made["token"])
    hint(f"token {made['id']} for {_facts(made)}; nobody can show it again")
    trusted = " --certificate-authority ca.crt" if context.credentials.ca else ""
    hint(f"  use it: atoll login {context.server}{trusted}   revoke it: atoll token revoke {made['id']}")
    if trusted:
        hint(f"  ca.crt is the hub's CA, which is no secret: {_ca_of(context)}")


def _ca_of(context: Context) -> str:
    """Say where the certificate of the hub's CA is to be had."""
    if context.home:
        return str(Pki.of(Home(Path(context.home))).ca.certificate)
    return "certificate-authority-data in your kubeconfig, decoded by base64 -d"


def show(choice: HubChoice, output: Output, *, watch: bool) -> None:
    """Print the tokens, and if asked again whenever one comes or goes."""
    with connect(choice) as api:
        watching.show(lambda: api.get(_PATH), partial(_print, output=output), output, watch=watch)


def _print(answer: Json, output: Output) -> None:
    if output is Output.JSON:
        say(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    elif output is Output.YAML:
        say(to_yaml(answer).rstrip())
    elif output is Output.NAME:
        for token in answer["items"]:
            say(f"token/{token['id']}")
    elif answer["items"]:
        is_wide = output is Output.WIDE
        print_table(_WIDE if is_wide else _HEADERS, _rows(answer["items"], datetime.now(UTC), is_wide=is_wide))
    else:
        hint("no tokens: 'atoll token issue' makes one")


def revoke(choice: HubChoice, token_id: str, *, dry_run: bool) -> None:
    """Revoke a token.

    Raises:
        NotFound: there is none of this id.
    """
    ident = token_id.removeprefix("token/")
    with connect(choice) as api:
        api.delete(f"{_PATH}/{ident}", dry_run=dry_run)
    say(f"token/{ident} revoked{' (dry run)' if dry_run else ''}")


def _facts(made: Json) -> str:
    groups = f", in {', '.join(made['groups'])}" if made.get("groups") else ""
    role = _role(made)
    return f"{made['user']}{groups}: {role or 'what RoleBindings grant'}; good until {made['expiresAt']}"


def _role(token: Json) -> str:
    if not token.get("role"):
        return ""
    return str(Role(token["role"], tuple(token.get("namespaces", ())), tuple(token.get("queues", ()))))


def _rows(items: list[Json], now: datetime, *, is_wide: bool) -> Iterator[tuple[object, ...]]:
    for token in sorted(items, key=lambda one: (one["user"], one["createdAt"])):
        left = (datetime.fromisoformat(token["expiresAt"]) - now).total_seconds()
        age = (now - datetime.fromisoformat(token["createdAt"])).total_seconds()
        limits = token.get("namespaces") or "all", token.get("queues") or "all"
        granted = (token["role"], *limits) if token.get("role") else ("by bindings", "", "")
        known = (token["groups"], token["createdBy"], token["description"]) if is_wide else ()
        yield token["id"], token["user"], *granted, _short(left) if left > 0 else "over", *known, _short(max(age, 0))


def _short(seconds: float) -> str:
    """Write the two largest units of a time, as kubectl writes an age."""
    unit = next((size for size in (86_400, 3_600, 60) if seconds >= 10 * size), 1)
    return format_duration(seconds // unit * unit)
