"""What every request passes first: one reading of its path, who asks and as whom, whether they may, and its record.

Owns the order of these steps. The reading stands in target.py, the hooks in access.py, the records in auditing.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from atoll.kubeapi.errors import ApiError, Forbidden
from atoll.kubeapi.http import impersonation
from atoll.kubeapi.http.access import Access, Action, User, action_of
from atoll.kubeapi.http.answers import error_answer
from atoll.kubeapi.http.auditing import Audit, Wire
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
        """Answer one request, or the handshake of a WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            scope = {**scope, "path": canonical(scope["path"]), "root_path": ""}
            wire = Wire(scope, receive, send)
            if scope["type"] == "websocket":
                await self._check_handshake(wire)
            elif self._is_open(scope):
                await self._app(*wire)
            else:
                request = Request(scope, receive)
                await self._check(request, wire, action_of(request))
        except ApiError as error:
            await error_answer(error)(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        is_open = scope["path"] in OPEN_PATHS and scope["method"] in ("GET", "HEAD")
        return is_open or (scope["method"], scope["path"]) in self._access.open_routes

    async def _check_handshake(self, wire: Wire) -> None:
        """Let through who may both `get` the subresource, as the handshake does, and `create` there, as talking does.

        The second is asked for since Kubernetes 1.35 (feature gate AuthorizePodWebsocketUpgradeCreatePermission).
        """
        wire.scope.setdefault("state", {})  # shared with what the guard reads the handshake as
        request = Request({**wire.scope, "type": "http", "method": "GET"}, wire.receive)
        handshake = action_of(request)
        await self._check(request, wire, handshake, replace(handshake, verb="create"))

    async def _check(self, request: Request, wire: Wire, *actions: Action) -> None:
        """Let through who may do all of this; the last is what the request does, and what its record says."""
        action = actions[-1]
        user, acting = await self._access.authenticate(request), None
        try:
            user, acting = await self._become(request, user)
            for needed in actions:
                await self._access.authorize(user, needed)
        except Forbidden as refused:
            mutation = self._audit.mutation(request, action, user=user, acting=acting)
            await self._audit.refuse(wire, mutation, refused)
            return
        request.state.user, request.state.action = user, action
        if action.verb == "watch":
            wire = wire._replace(send=Renewed(wire.send, partial(self._renew, request, action), self._clock))
        mutation = self._audit.mutation(request, action, user=user, acting=acting)
        await self._audit.carry_out(self._app, wire, request.state, mutation)

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
