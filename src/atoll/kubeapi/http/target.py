"""What a request is about: from its path and method to group, resource, name, subresource and verb.

Owns this reading of a request (k8s.io/apiserver request.RequestInfo); pure.
"""

from __future__ import annotations

from dataclasses import dataclass

_READS = {"GET": "get", "HEAD": "get"}
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Target:
    """The resource part of a path: `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE`."""

    group: str
    version: str
    plural: str
    namespace: str | None = None
    name: str = ""
    subresource: str = ""

    def verb(self, method: str, *, watches: bool = False) -> str:
        """Return the verb as authorization names it, or an empty string for a method that has none."""
        if method in _READS:
            if watches:
                return "watch"
            return "get" if self.name else "list"
        if method == "DELETE" and not self.name:
            return "deletecollection"
        return _WRITES.get(method, "")


def parse_target(path: str) -> Target | None:
    """Read a path; None if it names no resource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        return _target("", parts[1], parts[2:])
    if parts[0] == "apis" and len(parts) > 3:
        return _target(parts[1], parts[2], parts[3:])
    return None


def _target(group: str, version: str, rest: list[str]) -> Target | None:
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if not all(rest) or len(rest) > 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return Target(group, version, plural, namespace, name, subresource)
