"""Which kinds an API server serves and where: kind → URL path, cached. It knows no HTTP client.

A miss is asked for again, at most every `_MISS_SECONDS`: a CRD may be installed at any time.
"""

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from atoll.edge.member.errors import KindNotServed
from atoll.edge.member.objects import Kind
from atoll.federation.errors import InvalidInput, NotFound

# A kind's plural and scope never change while its CRD lives; ten minutes bound how long a replaced CRD misleads us.
_HIT_SECONDS = 600.0
# Policies of a kind that is missing are retried; below a second that would be a request per policy.
_MISS_SECONDS = 5.0


_PLAIN = "application/json"
_AGGREGATED = f"{_PLAIN};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,{_PLAIN}"


class Fetch(Protocol):
    """Reads one document of the API server."""

    def __call__(self, path: str, accept: str = ..., /) -> Awaitable[dict[str, Any]]:
        """Give the document at a path in the form that is asked for."""
        ...


@dataclass(frozen=True)
class Endpoint:
    """Where the objects of one kind are."""

    kind: Kind
    prefix: str
    plural: str
    is_namespaced: bool

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Give the URL path of one object, or of the collection when `name` is None.

        Raises:
            InvalidInput: one object of a namespaced kind is meant, and no namespace is given.
        """
        if name and self.is_namespaced and not namespace:
            raise InvalidInput(f"{self.kind.kind} {name} has no metadata.namespace, and its kind is namespaced")
        where = f"/namespaces/{quote(namespace, safe='')}" if namespace and self.is_namespaced else ""
        which = f"/{quote(name, safe='')}" if name else ""
        return f"{self.prefix}{where}/{self.plural}{which}"


@dataclass(frozen=True)
class _Known:
    endpoints: dict[str, Endpoint]
    at: float


class Discovery:
    """The endpoints of one API server."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: dict[str, _Known] = {}

    async def endpoint(self, kind: Kind) -> Endpoint:
        """Find where a kind is served.

        Raises:
            KindNotServed: it is not. Unavailable: the API server could not be asked.
        """
        known = self._known.get(kind.api_version)
        age = time.monotonic() - known.at if known else float("inf")
        if known is None or age > (_HIT_SECONDS if kind.kind in known.endpoints else _MISS_SECONDS):
            known = _Known(await self._read(kind.api_version), time.monotonic())
            self._known[kind.api_version] = known
        if kind.kind not in known.endpoints:
            raise KindNotServed(f"this cluster does not serve {kind}: install what provides it, or leave it out here")
        return known.endpoints[kind.kind]

    async def creatable_kinds(self) -> list[Kind]:
        """Name every kind whose objects stand in namespaces and can be made, in each version that is served.

        One request (KEP-3352); a server before Kubernetes 1.26 answers with its groups only, and only the preferred
        version of each is named.

        Raises:
            Unavailable: it could not be asked.
        """
        core = [Kind("v1", str(e["kind"])) for e in await self._entries("v1") if _takes(e, bool(e.get("namespaced")))]
        answer = await self._fetch("/apis", _AGGREGATED)
        if answer.get("kind") != "APIGroupDiscoveryList":
            return await self.namespaced_kinds()
        return core + [
            Kind(f"{group['metadata']['name']}/{version['version']}", str(entry["responseKind"]["kind"]))
            for group in answer.get("items") or ()
            for version in group.get("versions") or ()
            for entry in version.get("resources") or ()
            if entry.get("responseKind") and _takes(entry, entry.get("scope") == "Namespaced")
        ]

    async def namespaced_kinds(self) -> list[Kind]:
        """Name every kind whose objects stand in namespaces and can be listed, in the preferred version of its group.

        Raises:
            Unavailable: a group could not be asked; without it none of the answer is worth anything.
        """
        groups = (await self._fetch("/apis")).get("groups") or ()
        versions = ["v1", *(str(group["preferredVersion"]["groupVersion"]) for group in groups)]
        found: dict[Kind, None] = {}
        for version in versions:
            for entry in await self._entries(version):
                if entry.get("namespaced") and "list" in entry.get("verbs", ()):
                    found[Kind(version, str(entry["kind"]))] = None
        return list(found)

    def forget(self, api_version: str) -> None:
        """Ask again next time."""
        self._known.pop(api_version, None)

    async def _read(self, api_version: str) -> dict[str, Endpoint]:
        prefix = _prefix(api_version)
        return {
            str(entry["kind"]): Endpoint(
                Kind(api_version, str(entry["kind"])), prefix, str(entry["name"]), bool(entry.get("namespaced"))
            )
            for entry in await self._entries(api_version)
        }

    async def _entries(self, api_version: str) -> list[dict[str, Any]]:
        try:
            answer = await self._fetch(_prefix(api_version))
        except NotFound:
            return []
        # Subresources repeat the kind.
        return [entry for entry in answer.get("resources") or () if "/" not in entry["name"]]


def _takes(entry: dict[str, Any], is_namespaced: bool) -> bool:
    return is_namespaced and "/" not in entry.get("name", "") and "create" in entry.get("verbs", ())


def _prefix(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
