"""A gateway whose credentials ended while the hub was away finds back by its own key, with all that it took in."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from outbox_worlds import KEY, order_of, readings, rules

from atoll.edge.enrolment import Enrolled, EnrolmentSettings
from atoll.edge.gateway import main as gateway_main
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.settings import GatewaySettings
from atoll.edge.gateway.uplink import Uplink
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.credentials import Credentials, expiry
from atoll.federation.bus.membership import CREDENTIALS_FILE
from atoll.hub.settings import NatsFiles
from hub.support import HubClient, eventually, manifest, path_of, running_hub
from secured_nats import launch_secured


@pytest.fixture
def server(tmp_path: Path) -> Any:
    server, keys = launch_secured(tmp_path / "nats")
    yield server, keys
    server.kill9()


async def enrolled(client: HubClient, folder: Path) -> Enrolled:
    """Invite a gateway and give the folder that it enrols in."""
    answer = await client.http.post("/access/enrolments", json={"kind": "gateway", "name": "lab"})
    token = folder / "token"
    token.write_text(answer.json()["token"])
    settings = EnrolmentSettings(hub_url=client.url, token_file=token)
    return Enrolled(folder / "member", settings, kind="gateway", name="lab")


async def test_readings_flow_again_after_an_outage_in_which_the_credentials_ended(server: Any, tmp_path: Path) -> None:
    nats, keys = server
    async with running_hub(nats.url, tmp_path, nats=NatsFiles(keys)) as client:
        await client.apply(manifest("Gateway", "lab"))
        desk = client.hub.desk
        assert desk is not None
        object.__setattr__(desk._signer, "lifetime_seconds", 2.0)
        member_of = await enrolled(client, tmp_path)
        member = await member_of.membership()
        assert member.login.credentials is not None
        bus = await Bus.connect(member.nats_url, name="gateway lab", login=member.login)
        outbox = Outbox(tmp_path / "outbox.db", gateway="lab")
        outbox.follow(rules(order_of("anmo")))
        uplink = Uplink(outbox, gateway="lab")
        tasks = [
            asyncio.create_task(uplink.run(bus, token=member.service_token)),
            asyncio.create_task(member_of.keep(bus, member)),
        ]
        outbox.store(readings("anmo", b"before"), now=0)
        uplink.wake()

        async def forwarded(last: int) -> bool:
            return uplink.forwarded.get(KEY, 0) == last

        assert await eventually(lambda: forwarded(1))
        await asyncio.to_thread(nats.kill9)
        outbox.store(readings("anmo", b"meanwhile"), now=0)
        ended = expiry(member.login.credentials().jwt)[1]
        await asyncio.sleep(2.5)
        object.__setattr__(desk._signer, "lifetime_seconds", 60.0)
        await asyncio.to_thread(nats.start)
        assert await eventually(lambda: forwarded(2), seconds=40)
        assert expiry(member.login.credentials().jwt)[1] > ended
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await bus.close()
        outbox.close()


async def test_a_gateway_whose_first_credentials_are_no_good_has_them_renewed_by_its_key(
    server: Any, tmp_path: Path
) -> None:
    """A hub with a wrong clock let it in, or its link was down for longer than they live: it needs no new token."""
    nats, keys = server
    async with running_hub(nats.url, tmp_path, nats=NatsFiles(keys)) as client:
        await client.apply(manifest("Gateway", "lab"))
        desk = client.hub.desk
        assert desk is not None
        object.__setattr__(desk._signer, "lifetime_seconds", -3600.0)
        invited = await enrolled(client, tmp_path)
        settings = GatewaySettings("lab", invited._settings, tmp_path / "state")
        gateway = asyncio.create_task(gateway_main.run(settings))
        try:
            given = tmp_path / "state" / "membership" / CREDENTIALS_FILE

            async def is_let_in() -> bool:
                return given.exists()

            assert await eventually(is_let_in)
            assert expiry(Credentials.read(given).jwt)[1] < time.time()
            object.__setattr__(desk._signer, "lifetime_seconds", 60.0)

            async def is_heard() -> bool:
                return "lastProvenAt" in await client.status(path_of(manifest("Gateway", "lab")))

            assert await eventually(is_heard, seconds=40)
        finally:
            gateway.cancel()
            await asyncio.gather(gateway, return_exceptions=True)
