"""The API server of a simulated cluster as something that can die and can be slow.

Owns its ports and what stands between them and the application. Its objects are not its own: they outlive it, as etcd
outlives kube-apiserver, and the kubelet keeps running what it was told to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from atoll.sandbox.serving import Identity, Server, listen, serving


@dataclass(frozen=True)
class Port:
    """One port and what is served on it."""

    listener: socket.socket
    app: ASGIApp
    identity: Identity | None = None


class ApiServer:
    """Serves a cluster's API on its ports."""

    def __init__(self, *ports: Port) -> None:
        """Serve nothing before start()."""
        self._ports = [(int(port.listener.getsockname()[1]), port) for port in ports]
        self._listeners = [port.listener for port in ports]
        self._running: contextlib.AsyncExitStack | None = None
        self._servers: list[Server] = []
        self.delay_seconds = 0.0
        """How much later every answer begins."""

    @property
    def is_up(self) -> bool:
        """Whether it serves."""
        return self._running is not None

    async def start(self) -> None:
        """Serve, on the same ports each time. Raises Unavailable if another program has taken one."""
        if self._running is not None:
            return
        async with contextlib.AsyncExitStack() as stack:
            listeners = self._listeners or [listen(number) for number, _ in self._ports]
            self._listeners = []
            for listener in listeners:
                stack.callback(listener.close)
            for listener, (_, port) in zip(listeners, self._ports, strict=True):
                server = serving(self._late(port.app), listener, identity=port.identity)
                self._servers.append(await stack.enter_async_context(server))
            self._running = stack.pop_all()

    async def kill(self) -> None:
        """Be gone at once: connections break, new ones are refused."""
        for server in self._servers:
            server.cut()
        await self.close()

    async def close(self) -> None:
        """Serve no more."""
        running, self._running = self._running, None
        self._servers.clear()
        if running is not None:
            await running.aclose()

    def _late(self, app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if self.delay_seconds and scope["type"] == "http":
                await asyncio.sleep(self.delay_seconds)
            await app(scope, receive, send)

        return answer
