"""Impersonation: a caller who may asks as somebody else (`kubectl --as`, `--as-group`, `--as-uid`).

Owns the reading of these headers and what must be allowed for each; pure. Whether it is, access.py finds out.
Source: Kubernetes documentation "User impersonation"; k8s.io/apiserver filters.WithImpersonation.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from starlette.datastructures import Headers

from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.http.access import Action, User
from atoll.kubeapi.http.target import Target

_USER, _GROUP, _UID, _EXTRA = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-"
_AUTHENTICATION = "authentication.k8s.io"
_SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class Impersonation:
    """Who the caller wants to be, and what it must all be allowed for that."""

    user: User
    needed: tuple[Action, ...]


def requested(headers: Headers) -> Impersonation | None:
    """Return what the headers ask for, or None. Raises BadRequest if they cannot be understood."""
    name, uid, groups, extra = _one(headers, _USER), _one(headers, _UID), _all(headers, _GROUP), _extra(headers)
    if not name:
        if uid or groups or extra:
            raise BadRequest(f"{_GROUP}, {_UID} and {_EXTRA}* need {_USER} beside them")
        return None
    needed = [_account(name), *(_impersonate("groups", group) for group in groups)]
    needed += [_impersonate("userextras", value, key) for key, values in extra.items() for value in values]
    needed += [_impersonate("uids", uid)] if uid else []
    user = User(name, groups or _own_groups(name), uid, extra)
    return Impersonation(user.authenticated(), tuple(needed))


def _account(name: str) -> Action:
    namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    if name.startswith(_SERVICE_ACCOUNT) and account:
        return Action("impersonate", "", Target("", "v1", "serviceaccounts", namespace, account))
    return _impersonate("users", name)


def _impersonate(plural: str, name: str, subresource: str = "") -> Action:
    group = _AUTHENTICATION if plural in ("uids", "userextras") else ""
    return Action("impersonate", "", Target(group, "v1", plural, None, name, subresource))


def _own_groups(name: str) -> tuple[str, ...]:
    """Return the groups that a service account is always in."""
    namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    if not name.startswith(_SERVICE_ACCOUNT) or not account:
        return ()
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


def _extra(headers: Headers) -> dict[str, tuple[str, ...]]:
    prefix = _EXTRA.lower()
    names = dict.fromkeys(name for name in headers if name.startswith(prefix))
    return {unquote(name.removeprefix(prefix)).lower(): _all(headers, name) for name in names}


def _one(headers: Headers, name: str) -> str:
    values = _all(headers, name)
    if len(values) > 1:
        raise BadRequest(f"{name}: must be sent once")
    return values[0] if values else ""


def _all(headers: Headers, name: str) -> tuple[str, ...]:
    """Return the values of a header, which HTTP carries as bytes: names are UTF-8."""
    try:
        return tuple(value.encode("latin-1").decode() for value in headers.getlist(name) if value)
    except UnicodeDecodeError:
        raise BadRequest(f"{name}: must be UTF-8") from None
