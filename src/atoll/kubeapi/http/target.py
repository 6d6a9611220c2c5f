"""What a request is about: from its path and method to group, resource, name, subresource and verb.

Owns this reading of a request (k8s.io/apiserver request.RequestInfo); pure. Access, the audit and the routes all go by
it, so that no request can be authorized as one thing and served as another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from atoll.kubeapi.errors import NotFound

_READS = {"GET": "get", "HEAD": "get"}
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# Empty and dot segments, and control characters: a route's `$` matches before a closing line feed, for example.
_AMBIGUOUS = re.compile(r"//|/\.{1,2}(?=/|\Z)|[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Target:
    """The resource part of a path: `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE/TAIL`."""

    group: str
    version: str
    plural: str
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    tail: str = ""
    """What a subresource of many parts is asked for, as the PATH of a dataset's `files/PATH`."""

    def verb(self, method: str, *, watches: bool = False) -> str:
        """Return the verb as authorization names it, or an empty string for a method that has none."""
        if method in _READS:
            if watches and method == "GET":
                return "watch"
            return "get" if self.name else "list"
        if method == "DELETE" and not self.name:
            return "deletecollection"
        return _WRITES.get(method, "")


def canonical(path: str) -> str:
    """Return a path without the closing slash that some clients send.

    Raises NotFound if another reader could take the path for another one.
    """
    if _AMBIGUOUS.search(path):
        raise NotFound.resource()
    return path.rstrip("/") or "/"


def truth(text: str | None) -> bool | None:
    """Read a boolean query parameter as Kubernetes does: what is there is true (`?watch`), but for `false` and `0`."""
    return None if text is None else text.lower() not in ("false", "0")


def parse_target(path: str) -> Target | None:
    """Read a canonical path; None if it names no resource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        return _target("", parts[1], parts[2:])
    if parts[0] == "apis" and len(parts) > 3:
        return _target(parts[1], parts[2], parts[3:])
    return None


def _target(group: str, version: str, rest: list[str]) -> Target:
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    return Target(group, version, plural, namespace, name, subresource, "/".join(rest[3:]))
