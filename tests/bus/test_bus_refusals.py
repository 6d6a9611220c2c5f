"""Credentials that NATS does not take: said as what it is, and asked again without haste."""

import os
from pathlib import Path

import pytest
from secured import SecuredServer

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.link import Refused
from atoll.federation.bus.login import Login
from atoll.federation.errors import Unavailable


async def test_credentials_that_have_ended_are_refused_by_name_and_cost_next_to_nothing(tmp_path: Path) -> None:
    """Whereas a server that is not there is one that does not answer."""
    server = SecuredServer.launch(tmp_path / "nats")
    ended = server.credentials(lifetime_seconds=-10)
    before = sum(os.times()[:2])
    try:
        with pytest.raises(Refused, match="does not take the credentials of agent x"):
            await Bus.connect(server.url, name="agent x", login=Login(lambda: ended), wait_seconds=10)
    finally:
        server.kill9()
    assert sum(os.times()[:2]) - before < 2, "not in a tight loop"
    with pytest.raises(Unavailable, match="no NATS server answered") as raised:
        await Bus.connect(server.url, name="agent x", login=Login(lambda: ended), wait_seconds=0.5)
    assert not isinstance(raised.value, Refused)
