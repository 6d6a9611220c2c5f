"""The API server as an ASGI application.

Owns the composition of routes and error answers behind the guard; what they do is in the modules beside this one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from atoll.kubeapi.errors import ApiError, Internal, MethodNotAllowed, NotFound
from atoll.kubeapi.http.access import Access
from atoll.kubeapi.http.answers import error_answer
from atoll.kubeapi.http.auditing import CLIENT_GONE
from atoll.kubeapi.http.documents import Documents
from atoll.kubeapi.http.guard import Guard
from atoll.kubeapi.http.resources import Resources
from atoll.kubeapi.http.reviews import REVIEWS, Reviews
from atoll.kubeapi.resource import Registry
from atoll.kubeapi.store import Store

log = logging.getLogger(__name__)

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def create_app(
    store: Store,
    registry: Registry,
    *,
    version: Mapping[str, Any],
    access: Access = Access(),  # noqa: B008 - a frozen value
    extra_routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """Return the application that serves `store`.

    Args:
        registry: the registry that the store was made with.
        access: who decides over requests and remembers them.
        version: what `/version` answers; `major`, `minor` and `gitVersion` at least.
        extra_routes: routes that go before the API's own, for example `…/pods/{name}/log`; access applies to them too.
    """
    assert registry is store.registry, "one registry describes what the store serves"
    resources = Resources(store, access)
    routes: list[BaseRoute] = [
        *extra_routes,
        *Documents(store, version, also=REVIEWS).routes(),
        *Reviews(access).routes(),
        Route("/{path:path}", resources.handle, methods=_METHODS),
    ]
    handlers: dict[Any, Any] = {
        ApiError: _answer_api_error,
        404: _answer_no_route,
        405: _answer_no_method,
        ClientDisconnect: _answer_nobody,
        Exception: _answer_failure,
    }
    guard = Middleware(Guard, access=access, clock=store.clock)
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers)


async def _answer_api_error(request: Request, error: ApiError) -> Response:
    request.state.error = error
    return error_answer(error)


async def _answer_no_route(request: Request, _error: Exception) -> Response:
    return await _answer_api_error(request, NotFound.resource())


async def _answer_no_method(request: Request, _error: Exception) -> Response:
    return await _answer_api_error(request, MethodNotAllowed.resource())


async def _answer_nobody(_request: Request, _error: ClientDisconnect) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _answer_failure(request: Request, error: Exception) -> Response:
    log.error("request failed", extra={"method": request.method, "path": request.url.path}, exc_info=error)
    return error_answer(Internal("the server failed on this request; its log says why"))
