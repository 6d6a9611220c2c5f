"""Kubernetes' remote command protocol: numbered channels over one WebSocket, and a Status at the end.

Owns the frames; must not know what runs behind them. Sources: k8s.io/apimachinery/pkg/util/remotecommand, and KEP-4006
for v5, which lets a client close one channel. The first byte of each message is the number of its channel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

STDIN, STDOUT, STDERR, RESULT, RESIZE = range(5)
_CLOSE = 255
_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
PROTOCOLS = (_V5, _V4)
"""What this server speaks, the best first; older ones cannot tell an exit code."""


class ClientGone(Exception):
    """The client has ended the connection: nobody waits for what comes."""


@dataclass(frozen=True)
class Frame:
    """What a client sent on one channel; `is_last` if it sends no more there."""

    channel: int
    data: bytes = b""
    is_last: bool = False


class Channels:
    """One accepted WebSocket."""

    def __init__(self, socket: WebSocket, protocol: str) -> None:
        """Speak `protocol`, which is one of PROTOCOLS."""
        self._socket = socket
        self._can_close = protocol == _V5

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield what the client sends, until it is gone."""
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            raw = message.get("bytes") or (message.get("text") or "").encode()
            if frame := self._frame(raw):
                yield frame

    def _frame(self, raw: bytes) -> Frame | None:
        """Read a message; None for one that says nothing."""
        if not raw:
            return None
        if raw[0] != _CLOSE:
            return Frame(raw[0], raw[1:])
        return Frame(raw[1], is_last=True) if self._can_close and len(raw) > 1 else None

    async def send(self, channel: int, data: bytes) -> None:
        """Send something on a channel, as soon as the client takes it. Raises ClientGone."""
        try:
            await self._socket.send_bytes(bytes((channel,)) + data)
        except WebSocketDisconnect:
            raise ClientGone from None

    async def end(self, status: dict[str, Any]) -> None:
        """Send the Status that it came to, and close. Raises ClientGone."""
        await self.send(RESULT, orjson.dumps(status))
        try:
            await self._socket.close()
        except (WebSocketDisconnect, RuntimeError):  # starlette's word for a socket that has just been closed
            raise ClientGone from None


def chosen(offered: Sequence[str]) -> str | None:
    """Return the protocol to speak with a client that offers these; None if there is none."""
    return next((protocol for protocol in PROTOCOLS if protocol in offered), None)
