"""A grant: one role, limited to some namespaces and queues. What a RoleBinding gives, and what a token carries.

Owns its JSON form and what is wrong with one. Pure; what a role allows stands in `roles`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import orjson

from atoll.federation.errors import InvalidInput
from atoll.federation.resources.base import LABEL_PATTERN, SUBDOMAIN_PATTERN
from atoll.federation.resources.rolebinding import Role, scope_problem
from atoll.federation.resources.validation import FieldProblem

GRANT_EXTRA = "atoll.dev/grant"
"""The key of `User.extra` under which a token's own grant travels from authentication to authorization."""

ROLES: tuple[Role, ...] = get_args(Role)
_NAMES = {"namespaces": (LABEL_PATTERN, 63), "queues": (SUBDOMAIN_PATTERN, 253)}


@dataclass(frozen=True)
class Grant:
    """One role. Empty `namespaces` or `queues` mean all; a queue's name covers its dotted children."""

    role: Role
    namespaces: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: object) -> "Grant":
        """Read a grant from a map of JSON, or from the text of one.

        Raises:
            InvalidInput: it is none; `problems` holds a FieldProblem for each fault.
        """
        if isinstance(value, str | bytes):
            value = _loaded(value)
        problems = tuple(_problems(value))
        if problems or not isinstance(value, Mapping):
            message = "; ".join(f"{one.field}: {one.message}" if one.field else one.message for one in problems)
            raise InvalidInput(f"not a grant: {message}", problems)
        return cls(value["role"], tuple(value.get("namespaces") or ()), tuple(value.get("queues") or ()))

    def to_json(self) -> dict[str, Any]:
        """Give the form that `parse` reads; what does not limit is left out."""
        limits = {"namespaces": list(self.namespaces), "queues": list(self.queues)}
        return {"role": self.role, **{name: names for name, names in limits.items() if names}}

    def encode(self) -> str:
        """Give the JSON text, as `User.extra` carries it."""
        return orjson.dumps(self.to_json()).decode()

    def covers_namespace(self, namespace: str) -> bool:
        """Tell whether the grant holds in a namespace."""
        return not self.namespaces or namespace in self.namespaces

    def covers_queue(self, queue: str) -> bool:
        """Tell whether the grant holds for a queue, by its own name or that of a dotted parent."""
        return not self.queues or any(queue == name or queue.startswith(f"{name}.") for name in self.queues)


def _loaded(text: str | bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidInput("not a grant: no JSON") from None


def _problems(value: object) -> Iterator[FieldProblem]:
    if not isinstance(value, Mapping):
        yield FieldProblem("", "must be a map")
        return
    role = value.get("role")
    if "role" not in value:
        yield FieldProblem("role", f"is required: one of {', '.join(ROLES)}", "FieldValueRequired")
    elif role not in ROLES:
        yield FieldProblem("role", f"{role!r}: must be one of {', '.join(ROLES)}", "FieldValueNotSupported")
    for field in value:
        if field in _NAMES:
            yield from _list_problems(field, value[field], role if role in ROLES else None)
        elif field != "role":
            yield FieldProblem(str(field), "unknown field", "FieldValueUnknown")


def _list_problems(field: str, names: object, role: Role | None) -> Iterator[FieldProblem]:
    if not isinstance(names, list | tuple | None):
        yield FieldProblem(field, "must be a list of names")
        return
    pattern, longest = _NAMES[field]
    for index, name in enumerate(names or ()):
        if not isinstance(name, str) or len(name) > longest or not re.fullmatch(pattern, name):
            yield FieldProblem(f"{field}[{index}]", f"{str(name)[:80]!r}: must be a name of a-z, 0-9, '-' and '.'")
    if names and (problem := scope_problem(role, field)):
        yield FieldProblem(field, problem, "FieldValueForbidden")
