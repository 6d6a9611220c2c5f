"""nats-py's client with five behaviours changed, for servers that are away, do not let us in (any more), or are others.

nats-py closes for ever when the server says "authentication expired" or "revoked" to a connection that stands, although
the next connect would show newer credentials (`Client._process_err`, 2.16); it leaves the socket of a connect that was
refused open (`Client._attempt_reconnect`); closing it fails halfway where something waits to be sent and the connection
is gone (`Client._close`); where the pace of reconnects is ours to say, it stops for ever at an exception that it does
not expect; and it speaks without TLS, whatever it was told, to whoever says that none is needed
(`Client._process_connect_init`): one between could show our signature to the real server, and be us.
"""

from collections.abc import Callable
from typing import Any

import nats.errors
from nats.aio.client import Client, Server, Srv

_PASSING = ("authentication expired", "authentication revoked", "authorization violation", "account authentication")


class NoTls(nats.errors.Error):
    """Who answered offers no TLS, which was asked for."""


def is_refusal(problem: Exception) -> bool:
    """Tell whether a server answered, but does not take the credentials."""
    return isinstance(problem, nats.errors.Error) and any(text in str(problem).lower() for text in _PASSING)


class NatsClient(Client):
    """A client that keeps trying."""

    async def _process_err(self, err_msg: str) -> None:
        if any(text in err_msg.lower() for text in _PASSING):
            await self._process_op_err(nats.errors.Error(f"nats: {err_msg}"))
        else:
            await super()._process_err(err_msg)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # A tls:// URL asks for TLS, and so does a CA (`login.py`).
        is_asked = "tls" in self.options or any(server.uri.scheme == "tls" for server in self._server_pool)
        if initial_connection and is_asked and not info.get("tls_required"):
            raise NoTls("nats: the server offers no TLS")
        await super()._process_info(info, initial_connection)

    async def _connect_to_server(self, s: Srv) -> None:
        try:
            await super()._connect_to_server(s)
        except (TimeoutError, OSError, nats.errors.Error):
            raise
        except Exception as error:
            raise nats.errors.Error(f"could not connect: {error!r}") from error

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        if not self.is_connected:
            self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)

    async def _process_connect_init(self) -> None:
        is_done = False
        try:
            await super()._process_connect_init()
            is_done = True
        finally:
            if not is_done and self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]


def pacing(next_seconds: Callable[[], float]) -> Callable[[list[Server], dict[str, Any]], tuple[Server, float]]:
    """Give what nats-py asks before each attempt to reconnect: the server that failed least, and how long to wait."""

    def choose(servers: list[Server], _info: dict[str, Any]) -> tuple[Server, float]:
        return min(servers, key=lambda server: server.reconnects), next_seconds()

    return choose
