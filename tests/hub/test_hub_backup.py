"""A backup is taken while the hub works; after the worst day a new hub of it knows what was, and whom to let in."""

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atoll.cli import backing, restoring
from atoll.cli.choosing import HubChoice
from atoll.federation.bus.admission import Admission
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.credentials import Credentials, new_key, public_key
from atoll.federation.bus.login import Login
from atoll.federation.bus.messages import Heartbeat
from atoll.federation.bus.permissions import Identity
from atoll.federation.bus.subjects import OBSERVED_STREAM, observed_prefix
from atoll.federation.errors import Conflict
from atoll.hub.accounting.checkpoints import Checkpoints
from atoll.hub.accounting.sums import Sums
from atoll.hub.settings import NatsFiles
from hub.support import HubClient, eventually, manifest, running_hub
from nats_servers import NatsServer
from secured_nats import AccountServer, launch_secured


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[NatsServer, Path]]:
    """A nats-server with accounts, and the folder of its keys."""
    server, keys = launch_secured(tmp_path / "nats")
    yield server, keys
    server.kill9()


@pytest.fixture
async def hub(server: tuple[NatsServer, Path], tmp_path: Path) -> AsyncIterator[HubClient]:
    """A hub on it."""
    nats, keys = server
    async with running_hub(nats.url, tmp_path, nats=NatsFiles(keys)) as client:
        yield client


async def enrolled(hub: HubClient, seed: bytes) -> Admission:
    """Let the cluster `a` in."""
    invitation = await hub.http.post("/access/enrolments", json={"kind": "cluster", "name": "a"})
    wanted = {"token": invitation.json()["token"], "publicKey": public_key(seed), "kind": "cluster", "name": "a"}
    answer = await hub.http.post("/enrol", json=wanted)
    assert answer.status_code == 201, answer.text
    return Admission.decode(answer.content)


async def connect(url: str, admission: Admission, seed: bytes) -> Bus:
    login = Login(lambda: Credentials(admission.jwt, seed), Identity.of_member("cluster", "a"))
    return await Bus.connect(url, name="agent a", login=login, wait_seconds=20)


async def write_queues(hub: HubClient, written: list[int], enough: asyncio.Event) -> None:
    """Make queues one after the other, and note how many are acknowledged."""
    while not enough.is_set():
        await hub.apply(manifest("Queue", f"q{len(written):05}"))
        written.append(len(written))


async def test_what_was_acknowledged_before_a_backup_is_in_the_hub_that_is_made_of_it(
    hub: HubClient, server: tuple[NatsServer, Path], tmp_path: Path
) -> None:
    """Taken under load; the server is killed, and another one with the same keys and no store takes its place."""
    nats, keys = server
    seed, file = new_key("user"), tmp_path / "hub.tar"
    admission = await enrolled(hub, seed)
    sums = Sums(through=7)
    identity = (await hub.hub.wires.own.api("STREAM.INFO.ACCOUNTS"))["created"]
    await Checkpoints(hub.hub.wires.own).save(sums, identity)

    written: list[int] = []
    enough = asyncio.Event()
    writing = asyncio.create_task(write_queues(hub, written, enough))
    await eventually(lambda: asyncio.sleep(0, len(written) > 20))
    before = len(written)
    await asyncio.to_thread(backing.backup, HubChoice(server=hub.url), file, force=False)
    enough.set()
    await writing
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(Conflict, match="a hub is at work there"):
        await asyncio.to_thread(restore_into, file, nats.url, keys)
    nats.kill9()

    (tmp_path / "second").mkdir()
    second = SameKeys(tmp_path / "second", first=nats.home)
    second.start()
    try:
        await asyncio.to_thread(restore_into, file, second.url, keys)
        with pytest.raises(Conflict, match="a hub's state is there already: streams STATE"):
            await asyncio.to_thread(restore_into, file, second.url, keys)
        (tmp_path / "two").mkdir()
        async with running_hub(second.url, tmp_path / "two", nats=NatsFiles(keys)) as again:
            found = {each["metadata"]["name"] for each in (await again.get("/apis/atoll.dev/v1alpha1/queues"))["items"]}
            expected = [f"q{number:05}" for number in range(len(found))]
            assert sorted(found) == expected, "what is there was written without a gap"
            assert before <= len(found) <= len(written)
            bus = await connect(second.url, admission, seed)
            assert bus.is_connected
            await bus.close()
            now_identity = (await again.hub.wires.own.api("STREAM.INFO.ACCOUNTS"))["created"]
            assert (await Checkpoints(again.hub.wires.own).load(now_identity)).through == 7
    finally:
        second.kill9()


class SameKeys(AccountServer):
    """A server with the keys of another one: NATS lets in whom the first has let in."""

    def __init__(self, home: Path, *, first: Path) -> None:
        super().__init__(home)
        (home / "keys").symlink_to(first / "keys")


def restore_into(file: Path, url: str, keys: Path) -> None:
    restoring.restore(file, restoring.Wanted(into=restoring.IntoNats(url, keys)))


async def test_the_examination_measures_a_members_clock_and_the_end_of_its_credentials(hub: HubClient) -> None:
    """A member whose clock is seven seconds ahead; its credentials are those that it shows to NATS at this moment."""
    await hub.apply(manifest("Cluster", "a"))
    seed = new_key("user")
    admission = await enrolled(hub, seed)
    bus = await connect(admission.nats_url, admission, seed)
    now = datetime.now(UTC)
    beat = Heartbeat(agent_version="0.0.9", started_at=now, at=now + timedelta(seconds=7))
    prefix = observed_prefix("cluster", "a", admission.token)
    await bus.own_table(OBSERVED_STREAM, prefix).put("heartbeat", beat.encode())

    async def heard() -> dict[str, object] | None:
        rows = (await hub.get("/diagnosis"))["members"]
        return next((row for row in rows if "clockAheadSeconds" in row), None)

    row = await eventually(heard)
    await bus.close()
    assert row is not None
    assert 0 < float(str(row["clockAheadSeconds"])) < 7.5, "the way of the heartbeat counts against it"
    assert (row["agentVersion"], row["isConnected"]) == ("0.0.9", True)
    credentials = row["credentials"]
    assert isinstance(credentials, dict)
    left = datetime.fromisoformat(credentials["expiresAt"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    told = await hub.get("/diagnosis")
    assert told["hub"]["isLeader"]
    assert told["nats"]["servers"][0]["syncSeconds"] == 0
    assert abs(told["nats"]["clock"]["aheadSeconds"]) <= told["nats"]["clock"]["withinSeconds"] + 0.5
    assert {"STATE", "OBSERVED"} <= {stream["name"] for stream in told["nats"]["streams"]}
