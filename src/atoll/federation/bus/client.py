"""nats-py's client with two behaviours changed, for servers that do not let us in (any more).

nats-py closes for ever when the server says "authentication expired" or "revoked" to a connection that stands, although
the next connect would show newer credentials (`Client._process_err`, 2.16); and it leaves the socket of a connect that
was refused open (`Client._attempt_reconnect`).
"""

import nats.errors
from nats.aio.client import Client

_PASSING = ("authentication expired", "authentication revoked", "authorization violation", "account authentication")


class NatsClient(Client):
    """A client that keeps trying."""

    async def _process_err(self, err_msg: str) -> None:
        if any(text in err_msg.lower() for text in _PASSING):
            await self._process_op_err(nats.errors.Error(f"nats: {err_msg}"))
        else:
            await super()._process_err(err_msg)

    async def _process_connect_init(self) -> None:
        is_done = False
        try:
            await super()._process_connect_init()
            is_done = True
        finally:
            if not is_done and self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]
