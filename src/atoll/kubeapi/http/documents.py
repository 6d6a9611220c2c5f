"""The documents that clients read before they ask for resources: version, health, discovery, OpenAPI.

Owns these routes; the documents are made in discovery.py and openapi.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from atoll.kubeapi import discovery, openapi
from atoll.kubeapi.errors import NotAcceptable, NotFound, Unavailable
from atoll.kubeapi.http.answers import value_answer
from atoll.kubeapi.http.negotiation import JSON, Form, accepted, negotiate, write_body
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.store import Store

_AGGREGATED = ("v2", "v2beta1")
_OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_AS_KUBECTL_ASKS = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"  # no media type: it cannot read it back
# What clients of typed languages hold to be strings (version.Info): empty where nothing is known.
_UNKNOWN = dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "")


class Documents:
    """Answers requests for documents."""

    def __init__(self, store: Store, version: Mapping[str, Any], *, also: Sequence[ResourceType] = ()) -> None:
        """Describe what `store` serves, and `also` what others do; `version` is what `/version` says."""
        self._store = store
        self._registry = store.registry
        self._version = {**_UNKNOWN, **version}
        self._also = tuple(also)
        self._made: dict[str, tuple[int, bytes]] = {}  # by path, with the generation of the registry it was made from

    def routes(self) -> list[Route]:
        """Return the routes of all documents."""
        return [
            Route("/version", self.version),
            Route("/healthz", self.alive),
            Route("/livez", self.alive),
            Route("/readyz", self.ready),
            Route("/", self.root),
            Route("/api", self.core),
            Route("/apis", self.groups),
            Route("/apis/{group}", self.group),
            Route("/api/{version}", self.resources),
            Route("/apis/{group}/{version}", self.resources),
            Route("/openapi/v2", self.openapi_v2),
            Route("/openapi/v3", self.openapi_v3_paths),
            Route("/openapi/v3/api/{version}", self.openapi_v3),
            Route("/openapi/v3/apis/{group}/{version}", self.openapi_v3),
        ]

    async def version(self, request: Request) -> Response:
        """Answer `/version`."""
        return value_answer(self._version, _plain(request))

    async def alive(self, _request: Request) -> Response:
        """Answer `/healthz` and `/livez`."""
        return PlainTextResponse("ok")

    async def ready(self, _request: Request) -> Response:
        """Answer `/readyz`: ready while the cache follows the storage."""
        if not self._store.cache.is_synced:
            raise Unavailable("the cache has not loaded the storage yet", retry_after_seconds=1)
        return PlainTextResponse("ok")

    async def root(self, request: Request) -> Response:
        """Answer `/` with the paths that lead on."""
        groups = [item["name"] for item in discovery.group_list(self._types)["groups"]]
        paths = ["/api", "/api/v1", "/apis", *(f"/apis/{name}" for name in groups)]
        paths += ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
        return value_answer({"paths": paths}, _plain(request))

    async def core(self, request: Request) -> Response:
        """Answer `/api`."""
        return self._discovery(request, discovery.api_versions, core=True)

    async def groups(self, request: Request) -> Response:
        """Answer `/apis`."""
        return self._discovery(request, lambda: discovery.group_list(self._types), core=False)

    async def group(self, request: Request) -> Response:
        """Answer `/apis/GROUP`."""
        found = discovery.group(self._types, request.path_params["group"])
        if found is None:
            raise NotFound.resource()
        return value_answer(found, _plain(request))

    async def resources(self, request: Request) -> Response:
        """Answer `/api/VERSION` and `/apis/GROUP/VERSION`."""
        group, version = request.path_params.get("group", ""), request.path_params["version"]
        found = discovery.resource_list(self._types, group, version)
        if found is None:
            raise NotFound.resource()
        return value_answer(found, _plain(request))

    async def openapi_v2(self, request: Request) -> Response:
        """Answer `/openapi/v2` in JSON; in protobuf, which kubectl insists on, without definitions."""
        wanted = {media_type for media_type, _ in accepted(request.headers.get("accept", ""))}
        if wanted & {JSON, "*/*", "application/*"}:
            return self._kept(request, lambda: openapi.document_v2(self._types, release=self._release))
        if wanted & {_OPENAPI_V2_PROTOBUF, _AS_KUBECTL_ASKS}:
            return Response(openapi.frame_v2(release=self._release), media_type=_OPENAPI_V2_PROTOBUF)
        raise NotAcceptable(f"only the following media types are accepted: {JSON}, {_OPENAPI_V2_PROTOBUF}")

    async def openapi_v3_paths(self, request: Request) -> Response:
        """Answer `/openapi/v3`."""
        return self._kept(request, lambda: openapi.paths_of(self._types))

    async def openapi_v3(self, request: Request) -> Response:
        """Answer `/openapi/v3/…` for one group-version."""
        group, version = request.path_params.get("group", ""), request.path_params["version"]
        return self._kept(request, lambda: openapi.document_v3(self._types, group, version, release=self._release))

    @property
    def _types(self) -> tuple[ResourceType, ...]:
        return (*self._registry.all(), *self._also)

    @property
    def _release(self) -> str:
        return str(self._version.get("gitVersion", ""))

    def _discovery(self, request: Request, legacy: Callable[[], Any], *, core: bool) -> Response:
        for media_type, parameters in accepted(request.headers.get("accept", "")):
            version = parameters.get("v", "")
            if parameters.get("as") == "APIGroupDiscoveryList" and version in _AGGREGATED and media_type == JSON:
                content = write_body(discovery.aggregated(self._types, core=core, version=version), JSON)
                return Response(content, media_type=discovery.AGGREGATED_TYPE.format(version=version))
        return value_answer(legacy(), Form())

    def _kept(self, request: Request, make: Callable[[], Any]) -> Response:
        """Answer with a document that is made anew only when the registry changed."""
        path, generation = request.scope["path"], self._registry.generation
        known = self._made.get(path)
        if known is None or known[0] != generation:
            document = make()
            if document is None:
                raise NotFound.resource()
            known = self._made[path] = (generation, write_body(document, JSON))
        return Response(known[1], media_type=JSON)


def _plain(request: Request) -> Form:
    return Form(negotiate(request.headers.get("accept", "")).media_type)
