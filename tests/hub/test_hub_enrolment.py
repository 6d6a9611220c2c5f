"""Members come in by a one-time token, stay by their key, and are out at once when they are sent away."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from atoll.edge.enrolment import Enrolled, EnrolmentSettings
from atoll.federation.bus.admission import Admission, Enrolment
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.credentials import Credentials, new_key, public_key, sign
from atoll.federation.bus.login import Login
from atoll.federation.bus.membership import Membership
from atoll.federation.bus.permissions import Identity
from atoll.federation.bus.subjects import OBSERVED_STREAM, observed_prefix
from atoll.federation.errors import InvalidInput, Unavailable
from atoll.hub.main import running
from atoll.hub.settings import NatsFiles
from hub.support import HubClient, eventually, manifest, path_of, running_hub, settings
from nats_servers import NatsServer
from secured_nats import launch_secured


@pytest.fixture
def server(tmp_path: Path) -> Any:
    server, keys = launch_secured(tmp_path / "nats")
    yield server, keys
    server.kill9()


@dataclass
class World:
    """A hub on a NATS with accounts."""

    server: NatsServer
    folder: Path
    keys: Path
    client: HubClient

    async def invite(self, kind: str = "cluster", name: str = "a") -> str:
        answer = await self.client.http.post("/access/enrolments", json={"kind": kind, "name": name})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    async def post(self, seed: bytes, token: str, *, kind: str = "cluster", name: str = "a") -> httpx.Response:
        wanted = {"token": token, "publicKey": public_key(seed), "kind": kind, "name": name}
        return await self.client.http.post("/enrol", json=wanted)

    async def enrol(self, seed: bytes, token: str) -> Admission:
        answer = await self.post(seed, token)
        assert answer.status_code == 201, answer.text
        return Admission.decode(answer.content)

    async def connect(self, admission: Admission, seed: bytes) -> Bus:
        login = Login(lambda: Credentials(admission.jwt, seed), Identity.of_member("cluster", "a"))
        return await Bus.connect(admission.nats_url, name="agent a", login=login, wait_seconds=2)

    def member(self, token: str, folder: str = "member") -> Enrolled:
        file = self.folder / "token"
        file.write_text(token)
        given = EnrolmentSettings(hub_url=self.client.url, token_file=file)
        return Enrolled(self.folder / folder, given, kind="cluster", name="a")


@pytest.fixture
async def world(server: Any, tmp_path: Path) -> AsyncIterator[World]:
    nats, keys = server
    async with running_hub(nats.url, tmp_path, nats=NatsFiles(keys)) as client:
        yield World(nats, tmp_path, keys, client)


async def test_a_member_comes_in_with_its_token_and_reports(world: World) -> None:
    seed = new_key("user")
    admission = await world.enrol(seed, await world.invite())
    bus = await world.connect(admission, seed)
    await bus.own_table(OBSERVED_STREAM, observed_prefix("cluster", "a", admission.token)).put("heartbeat", b"{}")

    async def is_heard() -> Any:
        return world.client.hub.context.observed.members("cluster") == ["a"]

    assert await eventually(is_heard)
    await bus.close()


async def test_a_report_with_a_wrong_token_is_as_if_it_were_not_there(world: World) -> None:
    field = world.client.hub.wires.field
    await field.table(OBSERVED_STREAM, observed_prefix("cluster", "a", "f" * 32)).put("heartbeat", b"{}")
    observed = world.client.hub.context.observed

    async def is_counted() -> Any:
        metrics = await world.client.http.get("/metrics")
        return 'atoll_hub_forged_messages_total{kind="report"} 1.0' in metrics.text

    assert await eventually(is_counted)
    assert observed.members("cluster") == []


async def test_a_token_is_good_for_one_key_one_member_and_one_hour(world: World) -> None:
    token, seed = await world.invite(), new_key("user")
    wrong = await world.post(seed, token, name="b")
    assert (wrong.status_code, "for cluster a, not for cluster b" in wrong.text) == (403, True)
    await world.enrol(seed, token)
    await world.enrol(seed, token)  # the first answer may have been lost
    again = await world.post(new_key("user"), token)
    assert (again.status_code, "was used" in again.text) == (403, True)
    for spoilt in (token[:-1], "atoll-enrol_00_x", "x", ""):
        assert (await world.post(new_key("user"), spoilt)).status_code == 403


async def test_an_expired_token_is_refused(server: Any, tmp_path: Path) -> None:
    nats, keys = server
    ahead = [timedelta()]

    def clock() -> datetime:
        return datetime.now(UTC) + ahead[0]

    async with (
        running(settings(nats.url, tmp_path, nats=NatsFiles(keys)), clock=clock) as hub,
        httpx.AsyncClient(base_url=hub.url) as http,
    ):
        world = World(nats, tmp_path, keys, HubClient(hub.hub, hub.url, http))
        token = await world.invite()
        ahead[0] = timedelta(minutes=61)
        answer = await world.post(new_key("user"), token)
        assert (answer.status_code, "ended at" in answer.text) == (403, True)


async def test_a_member_that_is_sent_away_is_cut_off_at_once_and_for_good(world: World) -> None:
    seed = new_key("user")
    admission = await world.enrol(seed, await world.invite())
    bus = await world.connect(admission, seed)
    assert (await world.client.http.delete("/access/members/cluster/a")).status_code == 200

    async def is_cut_off() -> bool:
        return not bus.is_connected

    await eventually(is_cut_off, seconds=15)
    with pytest.raises(Unavailable):
        await world.connect(admission, seed)
    await bus.close()
    world.server.restart()
    with pytest.raises(Unavailable):
        await world.connect(admission, seed)
    assert (await world.client.http.delete("/access/members/cluster/a")).status_code == 404


async def test_a_new_agent_takes_the_place_of_the_old_one(world: World) -> None:
    old, new = new_key("user"), new_key("user")
    before = await world.enrol(old, await world.invite())
    after = await world.enrol(new, await world.invite())
    with pytest.raises(Unavailable):
        await world.connect(before, old)
    bus = await world.connect(after, new)
    await bus.close()


async def test_an_invitation_outlives_the_hub_that_made_it(server: Any, tmp_path: Path) -> None:
    nats, keys = server
    async with running_hub(nats.url, tmp_path, nats=NatsFiles(keys)) as client:
        token = await World(nats, tmp_path, keys, client).invite()
    async with running_hub(nats.url, tmp_path, nats=NatsFiles(keys)) as client:
        world, seed = World(nats, tmp_path, keys, client), new_key("user")
        bus = await world.connect(await world.enrol(seed, token), seed)
        await bus.close()


async def test_a_member_keeps_its_membership_on_disk_and_needs_no_token_again(world: World) -> None:
    first = await world.member(await world.invite()).membership()
    (world.folder / "token").unlink()
    again = await Enrolled(
        world.folder / "member", EnrolmentSettings(hub_url="http://127.0.0.1:1"), kind="cluster", name="a"
    ).membership()
    assert (again.token, again.nats_url) == (first.token, first.nats_url)
    assert {file.stat().st_mode & 0o777 for file in (world.folder / "member").iterdir()} == {0o600}
    with pytest.raises(InvalidInput, match="is not enrolled here"):
        await Enrolled(world.folder / "other", EnrolmentSettings(), kind="cluster", name="a").membership()


async def test_no_report_is_lost_while_credentials_end_and_are_renewed(world: World) -> None:
    """Credentials of four seconds under load: they are renewed, the connection is renewed, every report arrives."""
    desk = world.client.hub.desk
    assert desk is not None
    object.__setattr__(desk._signer, "lifetime_seconds", 4.0)
    enrolled = world.member(await world.invite())
    member = await enrolled.membership()
    bus = await Bus.connect(member.nats_url, name="agent a", login=member.login)
    keeping = asyncio.create_task(enrolled.keep(bus, member))
    table = bus.own_table(OBSERVED_STREAM, observed_prefix("cluster", "a", member.token))
    written = 0
    until = time.monotonic() + 12
    while time.monotonic() < until:
        with contextlib.suppress(Unavailable):
            await table.put(f"run/ns/r{written}", b"%d" % written)
            written += 1
        await asyncio.sleep(0.01)
    assert written > 100
    assert bus.reconnects >= 1, "the server ends a connection with its credentials"
    assert not keeping.done()
    keeping.cancel()
    await asyncio.wait({keeping})
    await bus.close()
    observed = world.client.hub.context.observed

    async def all_there() -> Any:
        there = {path.names[1] for path in observed.paths("cluster", "a", "run")}
        return {f"r{number}" for number in range(written)} <= there

    assert await eventually(all_there)


async def test_a_member_that_was_away_too_long_comes_back_by_its_key(world: World) -> None:
    desk = world.client.hub.desk
    assert desk is not None
    object.__setattr__(desk._signer, "lifetime_seconds", 1.0)
    await world.member(token := await world.invite()).membership()
    await asyncio.sleep(1.2)
    object.__setattr__(desk._signer, "lifetime_seconds", 60.0)
    member: Membership = await world.member(token).membership()
    bus = await Bus.connect(member.nats_url, name="agent a", login=member.login, wait_seconds=3)
    await bus.close()


@pytest.mark.parametrize("spoilt", ["key", "signature", "clock", "name"])
async def test_whoever_has_not_the_key_does_not_come_back(world: World, spoilt: str) -> None:
    seed, other = new_key("user"), new_key("user")
    await world.enrol(seed, await world.invite())
    at = time.time() - (400 if spoilt == "clock" else 0)
    shown = other if spoilt == "key" else seed
    name = "b" if spoilt == "name" else "a"
    wanted = Enrolment(public_key=public_key(shown), kind="cluster", name=name, at=at)
    by = other if spoilt in ("key", "signature") else seed
    proof = wanted.model_copy(update={"signature": sign(by, wanted.claim)})
    answer = await world.client.http.post("/enrol", json=proof.wire())
    assert answer.status_code == 403, answer.text


async def test_deleting_a_cluster_sends_its_agent_away_and_ends_its_open_tokens(world: World) -> None:
    """By any tool: here by a plain DELETE of the object, of a cluster whose agent was never heard."""
    cluster = manifest("Cluster", "a")
    await world.client.apply(cluster)
    seed, unused = new_key("user"), await world.invite()
    bus = await world.connect(await world.enrol(seed, await world.invite()), seed)
    await world.client.http.delete(path_of(cluster))

    async def is_out() -> bool:
        return not bus.is_connected and (await world.client.http.get(path_of(cluster))).status_code == 404

    assert await eventually(is_out)
    late = await world.post(new_key("user"), unused)
    assert (late.status_code, "unknown" in late.text) == (403, True)
    await bus.close()
