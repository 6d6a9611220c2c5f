"""Watches outlive the rights that they were begun with: before they go on, those are asked for again now and then.

Owns when; what is asked, the guard says. A client whose watch ends so begins anew, and is told why it may not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from starlette.types import Message, Send

from atoll.kubeapi.errors import ApiError

RENEW_SECONDS = 30.0
"""How long a watch goes on showing changes to who may no longer see them; shorter costs more checks."""


class Renewed:
    """Sends a stream on for as long as its reader may have it."""

    def __init__(self, send: Send, check: Callable[[], Awaitable[None]], clock: Callable[[], datetime]) -> None:
        """Let `check` raise ApiError when the reader may no longer have it."""
        self._send = send
        self._check = check
        self._clock = clock
        self._due = clock() + timedelta(seconds=RENEW_SECONDS)
        self._is_over = False

    async def __call__(self, message: Message) -> None:
        """Send a part of the stream, or its end in the place of it; what comes after the end goes nowhere."""
        if self._is_over:
            return
        if message["type"] == "http.response.body" and self._clock() >= self._due:
            self._due = self._clock() + timedelta(seconds=RENEW_SECONDS)
            try:
                await self._check()
            except ApiError:
                self._is_over = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)
