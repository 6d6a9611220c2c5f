"""The API server as an ASGI application.

Owns the composition of routes, access and error answers; what the routes do is in the modules beside this one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from atoll.kubeapi.errors import ApiError, Internal, NotFound
from atoll.kubeapi.http.access import OPEN_PATHS, Access, Authenticator, Authorizer
from atoll.kubeapi.http.answers import error_answer
from atoll.kubeapi.http.documents import Documents
from atoll.kubeapi.http.resources import Resources
from atoll.kubeapi.http.reviews import Reviews
from atoll.kubeapi.resource import Registry
from atoll.kubeapi.store import Store

log = logging.getLogger(__name__)

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def create_app(
    store: Store,
    registry: Registry,
    *,
    version: Mapping[str, Any],
    authenticator: Authenticator | None = None,
    authorizer: Authorizer | None = None,
    extra_routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """Return the application that serves `store`.

    Args:
        registry: the registry that the store was made with.
        version: what `/version` answers; `major`, `minor` and `gitVersion` at least.
        extra_routes: routes that go before the API's own, for example `…/pods/{name}/log`; access applies to them too.
    """
    assert registry is store.registry, "one registry describes what the store serves"
    access = Access(authenticator, authorizer)
    resources = Resources(store)
    routes: list[BaseRoute] = [
        *extra_routes,
        *Documents(store, version).routes(),
        *Reviews(access).routes(),
        Route("/{path:path}", resources.handle, methods=_METHODS),
    ]
    handlers: dict[Any, Any] = {ApiError: _answer_api_error, 404: _answer_no_route, Exception: _answer_failure}
    return Starlette(routes=routes, middleware=[Middleware(_Guard, access=access)], exception_handlers=handlers)


class _Guard:
    """Lets a request through only if its sender may; the sender is then `request.state.user`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            request.state.user = await self._access.check(request)
        except ApiError as error:
            await error_answer(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _answer_api_error(_request: Request, error: ApiError) -> Response:
    return error_answer(error)


async def _answer_no_route(_request: Request, _error: Exception) -> Response:
    return error_answer(NotFound.resource())


async def _answer_failure(request: Request, error: Exception) -> Response:
    log.error("request failed", extra={"method": request.method, "path": request.url.path}, exc_info=error)
    return error_answer(Internal("the server failed on this request; its log says why"))
