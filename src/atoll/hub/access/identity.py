"""How credentials become a user: the form that all three ways of authentication share.

Owns the extras that the hub adds, the names that are its own, and the reasons of a refusal. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from atoll.hub.access.grant import GRANT_EXTRA, Grant
from atoll.kubeapi.http.access import User

# As Kubernetes names it in audit records since 1.32 (KEP-4193): which credential it was, not only whose.
CREDENTIAL_EXTRA = "authentication.kubernetes.io/credential-id"
OIDC_PREFIX = "oidc:"
ADMINS_GROUP = "atoll:admins"
"""Always Admin, so that deleting the last RoleBinding locks nobody out; a local admin's certificate carries it."""
# Names that mean something to the hub or to Kubernetes, or that only an identity provider may give.
RESERVED_PREFIXES = ("atoll:", "system:", OIDC_PREFIX)

Reason = Literal[
    "Malformed",
    "UnknownOrRevoked",
    "WrongSecret",
    "WrongSignature",
    "WrongIssuer",
    "WrongAudience",
    "UnknownKey",
    "ForbiddenAlgorithm",
    "MissingClaim",
    "InvalidClaim",
    "NotYetValid",
    "Expired",
    "NotAccepted",
]


@dataclass(frozen=True)
class Refused:
    """Why credentials are no good. `about` identifies them for the log, and is no secret."""

    reason: Reason
    about: str = ""


def identified(name: str, groups: Iterable[str], *, credential: str, uid: str = "", grant: Grant | None = None) -> User:
    """Give the user that good credentials stand for."""
    extra: dict[str, tuple[str, ...]] = {CREDENTIAL_EXTRA: (credential,)}
    if grant is not None:
        extra[GRANT_EXTRA] = (grant.encode(),)
    return User(name, tuple(dict.fromkeys(groups)), uid, extra)
