"""What every request passes first: one reading of its path, who asks and as whom, whether they may, and its record.

Owns the order of these steps. The reading stands in target.py, the hooks in access.py, the records in auditing.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from atoll.kubeapi.errors import ApiError, Forbidden
from atoll.kubeapi.http import impersonation
from atoll.kubeapi.http.access import Access, Action, User, action_of
from atoll.kubeapi.http.answers import error_answer
from atoll.kubeapi.http.auditing import Audit
from atoll.kubeapi.http.renewal import Renewed
from atoll.kubeapi.http.target import canonical

OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})


class Guard:
    """Lets a request through only if its sender may; `request.state` has then its `user` and `action`.

    What is served is what `action` says, or what routes find in the very path that it was read from.
    """

    def __init__(self, app: ASGIApp, access: Access, clock: Callable[[], datetime]) -> None:
        """Stand before `app`."""
        self._app = app
        self._access = access
        self._clock = clock
        self._audit = Audit(access.auditor, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Websockets, which nothing here speaks, are closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        try:
            scope = {**scope, "path": canonical(scope["path"]), "root_path": ""}
            is_open = scope["path"] in OPEN_PATHS and scope["method"] in ("GET", "HEAD")
            if is_open or (scope["method"], scope["path"]) in self._access.open_routes:
                await self._app(scope, receive, send)
            else:
                await self._check(Request(scope, receive), send)
        except ApiError as error:
            await error_answer(error)(scope, receive, send)

    async def _check(self, request: Request, send: Send) -> None:
        action = action_of(request)
        user, acting = await self._access.authenticate(request), None
        try:
            user, acting = await self._become(request, user)
            await self._access.authorize(user, action)
        except Forbidden as refused:
            mutation = self._audit.mutation(request, action, user=user, acting=acting)
            await self._audit.refuse(request, send, mutation, refused)
            return
        request.state.user, request.state.action = user, action
        if action.verb == "watch":
            send = Renewed(send, partial(self._renew, request, action), self._clock)
        mutation = self._audit.mutation(request, action, user=user, acting=acting)
        await self._audit.carry_out(self._app, request, send, mutation)

    async def _become(self, request: Request, real: User) -> tuple[User, User | None]:
        """Return whom the caller asks as, and the caller if that is somebody else. Raises Forbidden or BadRequest."""
        wanted = impersonation.requested(request.headers)
        if wanted is None:
            return real, None
        for needed in wanted.needed:
            await self._access.authorize(real, needed)
        return wanted.user, real

    async def _renew(self, request: Request, action: Action) -> None:
        user, _ = await self._become(request, await self._access.authenticate(request))
        await self._access.authorize(user, action)
