"""Who answers in NATS's place without TLS hears nothing from a client that was told to ask for it."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.credentials import Credentials, new_key
from atoll.federation.bus.login import Login
from atoll.federation.errors import Unavailable
from atoll.local.certificates import issue_ca
from atoll.local.certificates import new_key as new_tls_key

_OFFERED = {"server_id": "X", "version": "2.15.1", "nonce": "n", "max_payload": 1 << 20, "auth_required": True}


@pytest.mark.parametrize(
    ("scheme", "has_ca", "says"),
    [("tls", False, {"tls_required": False}), ("nats", True, {"tls_available": True}), ("tls", True, {})],
)
async def test_a_client_that_asks_for_tls_shows_nothing_to_a_server_without(
    tmp_path: Path, scheme: str, has_ca: bool, says: dict[str, bool]
) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO " + json.dumps({**_OFFERED, **says}).encode() + b"\r\n")
        heard.put_nowait(await reader.read(4096))
        writer.close()

    (tmp_path / "ca.crt").write_bytes(issue_ca(new_tls_key(), now=datetime.now(UTC)))
    login = Login(lambda: Credentials("jwt", new_key("user")), ca=tmp_path / "ca.crt" if has_ca else None)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        said = ""
        for wait_seconds in (0.4, 2, 10, 40):  # a busy machine may need longer for a first answer
            with pytest.raises(Unavailable) as caught:
                await Bus.connect(url, name="agent x", login=login, wait_seconds=wait_seconds)
            said = str(caught.value)
            if "answered" not in said:
                break
        assert said == f"NATS at {url} offers no TLS; a tls:// URL and a CA ask for it"
        assert await asyncio.wait_for(heard.get(), 30) == b""
