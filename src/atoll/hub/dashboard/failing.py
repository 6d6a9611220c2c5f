"""What a browser gets when a page cannot be made: a page that says so, and nothing of what went wrong inside.

Owns these answers; the log says why.
"""

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from atoll.hub.dashboard.rendering import Renderer
from atoll.kubeapi.errors import ApiError

log = structlog.get_logger(__name__)


class Failing:
    """Answers for pages that failed."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    async def missing(self, _request: Request, _error: Exception) -> Response:
        """Answer at a path that is no page."""
        return self._page("there is no such page", 404)

    async def refused(self, _request: Request, error: Exception) -> Response:
        """Answer with what the API says: mostly that it cannot tell now, and when to ask again."""
        assert isinstance(error, ApiError), "it is registered for these"
        return self._page(error.message, error.code)

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answer when the page itself is at fault."""
        log.error("a page failed", path=request.url.path, exc_info=error)
        return self._page("this page could not be made; the hub's log says why", 500)

    def _page(self, text: str, code: int) -> Response:
        return HTMLResponse(self._renderer.page("failed.html", {"text": text, "code": code}), code)
