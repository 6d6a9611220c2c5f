"""G6: with real credentials of a member, everything else is tried; nothing has any effect on what is not its own.

NATS checks neither the reply subject of a message nor the deliver subject of a consumer against anybody's permissions.
So each trick that makes the server itself send something is tried on every request that JetStream's API knows.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from secured import CAPABILITIES, SecuredServer

from atoll.federation.bus import permissions
from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.chunk_reader import ChunkReader
from atoll.federation.bus.chunks import ChunkWriter, Upload
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log import LogReader
from atoll.federation.bus.log_writer import LogWriter
from atoll.federation.bus.nats_keys import HUB
from atoll.federation.bus.permissions import Identity
from atoll.federation.bus.subjects import (
    BARRIER,
    DESIRED_STREAM,
    OBSERVED_STREAM,
    chunks_prefix,
    chunks_stream,
    data_subject,
    desired_prefix,
    files_prefix,
    files_subject,
    hub_subject,
    lab_prefix,
    lab_stream,
    lab_subject,
    observed_prefix,
    rpc_subject,
    uplink_prefix,
    uplink_subject,
)
from atoll.federation.errors import NotFound, Unavailable

ROLES = ("agent", "gateway", "data")
STREAMS = (DESIRED_STREAM, OBSERVED_STREAM, "LAB_a", "LAB_b", "FILES_a", "FILES_b")
STEPS = ("", ".x", ".x.y")
# nats-server 2.15, server/jetstream_api.go: every request that names a stream.
STREAM_VERBS = (
    "STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.DELETE", "STREAM.PURGE", "STREAM.SNAPSHOT",
    "STREAM.RESTORE", "STREAM.MSG.DELETE", "STREAM.MSG.GET", "STREAM.PEER.REMOVE", "STREAM.LEADER.STEPDOWN",
    "CONSUMER.CREATE", "CONSUMER.NAMES", "CONSUMER.LIST", "DIRECT.GET",
)  # fmt: skip
CONSUMER_VERBS = (
    "CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.PAUSE",
    "CONSUMER.UNPIN", "CONSUMER.RESET", "CONSUMER.LEADER.STEPDOWN", "CONSUMER.MSG.NEXT",
)  # fmt: skip
OTHERS = (
    "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.META.LEADER.STEPDOWN",
    "$JS.API.SERVER.REMOVE", "$JS.API.ACCOUNT.PURGE.x", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.SERVER.PING.KICK",
    "$SYS.REQ.ACCOUNT.x.CLAIMS.LOOKUP", "_INBOX.hub.hub.x", "_CALL.hub.hub.x", "state.core.namespaces.x",
)  # fmt: skip
BODIES: tuple[bytes, ...] = (b"", b"{}", b'{"seq":9}', b'{"filter":">"}', b'{"no_erase":true,"seq":1}')


def requests() -> Iterator[str]:
    """Give every subject by which something could be changed or read, and some that belong to others."""
    for stream in STREAMS:
        yield from (f"$JS.API.{verb}.{stream}" for verb in STREAM_VERBS)
        yield from (f"$JS.API.{verb}.{stream}.victim" for verb in CONSUMER_VERBS)
        yield f"$JS.API.DIRECT.GET.{stream}.{desired_prefix('cluster', 'b', CAPABILITIES.agent('b'))}.run.ns.x"
    yield from OTHERS
    for guess in ("open", "0" * 32, CAPABILITIES.agent("a"), CAPABILITIES.gateway("a"), CAPABILITIES.data("a", "ns")):
        yield f"{desired_prefix('cluster', 'b', guess)}.run.ns.x"
        yield f"{observed_prefix('cluster', 'b', guess)}.heartbeat"
        yield f"{observed_prefix('gateway', 'b', guess)}.heartbeat"
        yield f"{uplink_prefix('b', guess)}.ns.s"
        yield f"{chunks_prefix('b', guess)}.ns.s.ab-1.0.0"
        yield rpc_subject("b", "logs", guess)
        yield hub_subject("cluster", "b", "renew", guess)
    yield lab_subject("b", "ns", "s")
    yield f"{files_subject('b', 'ns', 's')}.ab-1.0.0"


class World:
    """Two of each role, a hub, and what is theirs."""

    def __init__(self, server: SecuredServer, hub: Bus) -> None:
        self.server, self.hub = server, hub

    async def fill(self) -> None:
        await self.hub.ensure_table(DESIRED_STREAM, "desired")
        await self.hub.ensure_table(OBSERVED_STREAM, "observed")
        for name in ("a", "b"):
            source = uplink_prefix(name, CAPABILITIES.uplink(name))
            await self.hub.ensure_log(lab_stream(name), lab_prefix(name), max_bytes=1 << 22, taken_in=source)
            taken_in = chunks_prefix(name, CAPABILITIES.uplink(name))
            await self.hub.ensure_chunks(chunks_stream(name), files_prefix(name), max_bytes=1 << 22, taken_in=taken_in)
            await self.hub.store(f"{taken_in}.ns.s.ab-1.0.0", b"{}")
            for kind, token in (("cluster", CAPABILITIES.agent(name)), ("gateway", CAPABILITIES.gateway(name))):
                for stream, prefix in ((DESIRED_STREAM, desired_prefix), (OBSERVED_STREAM, observed_prefix)):
                    table = self.hub.table(stream, prefix(kind, name, token))  # type: ignore[operator]
                    for key in ("run/ns/x", "heartbeat"):
                        await table.put(key, b"{}")
            await self.hub.store(uplink_subject(lab_subject(name, "ns", "s"), CAPABILITIES.uplink(name)), b"{}")
        await self.hub.api(
            f"CONSUMER.CREATE.{DESIRED_STREAM}.victim",
            {"stream_name": DESIRED_STREAM, "config": {"name": "victim", "ack_policy": "none"}, "action": "create"},
        )

    async def connect(self, role: str) -> Bus:
        if role == "data":
            return await self.server.data("a", "ns")
        return await (self.server.agent("a") if role == "agent" else self.server.gateway("a"))

    async def fingerprint(self, role: str) -> dict[str, Any]:
        """Give all that must not change: the streams, and each message that somebody believes and that is another's.

        What lies in a table under a token that nobody has is not there for anybody.
        """
        found: dict[str, Any] = {}
        places = {
            "agent": f".cluster.a.{CAPABILITIES.agent('a')}.",
            "gateway": f".gateway.a.{CAPABILITIES.gateway('a')}.",
            "data": f".cluster.a.{CAPABILITIES.data('a', 'ns')}.",
            "agent b": f".cluster.b.{CAPABILITIES.agent('b')}.",
            "gateway b": f".gateway.b.{CAPABILITIES.gateway('b')}.",
            "log b": "lab.b.",
            "files b": "files.b.",
            **({} if role == "gateway" else {"log": "lab.a.", "files": "files.a."}),
        }
        theirs = [place for who, place in places.items() if who != role]
        for stream in (await self.hub.api("STREAM.NAMES"))["streams"]:
            info = await self.hub.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
            subjects = info["state"].get("subjects") or {}
            others = [subject for subject in subjects if any(place in subject for place in theirs)]
            messages = [
                (await self.hub.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}))["message"]
                for subject in sorted(others)
            ]
            found[stream] = info["config"], [(m["seq"], m["subject"], m.get("data")) for m in messages]
        names = (await self.hub.api(f"CONSUMER.NAMES.{DESIRED_STREAM}"))["consumers"]
        return {**found, "victim": "victim" in (names or [])}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    server = SecuredServer.launch(tmp_path / "nats")
    hub = await server.hub()
    world = World(server, hub)
    await world.fill()
    yield world
    await hub.close()
    server.kill9()


def own_places(role: str) -> list[str]:
    """Give subjects that the member may store to."""
    return {
        "agent": [
            f"{observed_prefix('cluster', 'a', CAPABILITIES.agent('a'))}.heartbeat",
            f"{desired_prefix('cluster', 'a', CAPABILITIES.agent('a'))}.{BARRIER}",
        ],
        "gateway": [
            f"{observed_prefix('gateway', 'a', CAPABILITIES.gateway('a'))}.heartbeat",
            uplink_subject(lab_subject("a", "ns", "s"), CAPABILITIES.uplink("a")),
            f"{chunks_prefix('a', CAPABILITIES.uplink('a'))}.ns.s.ab-2.0.0",
        ],
        "data": [f"{observed_prefix('cluster', 'a', CAPABILITIES.data('a', 'ns'))}.dataset.ns.x"],
    }[role]


def own_filters(role: str) -> list[tuple[str, str]]:
    """Give stream and filter of the consumers that the member may make."""
    return {
        "agent": [
            (DESIRED_STREAM, f"{desired_prefix('cluster', 'a', CAPABILITIES.agent('a'))}.>"),
            (OBSERVED_STREAM, f"{observed_prefix('cluster', 'a', CAPABILITIES.agent('a'))}.>"),
        ],
        "gateway": [(DESIRED_STREAM, f"{desired_prefix('gateway', 'a', CAPABILITIES.gateway('a'))}.>")],
        "data": [("LAB_a", lab_subject("a", "ns", "s")), ("FILES_a", f"{files_subject('a', 'ns', 's')}.ab-1.>")],
    }[role]


def consumer(stream: str, subject_filter: str, **changes: Any) -> bytes:
    config = {"name": "evil", "filter_subject": subject_filter, "ack_policy": "none", **changes}
    return orjson.dumps({"stream_name": stream, "config": config, "action": ""})


@pytest.mark.parametrize("role", ROLES)
async def test_no_request_that_a_member_sends_reads_or_changes_what_is_not_its_own(world: World, role: str) -> None:
    me = await world.connect(role)
    before = await world.fingerprint(role)
    looks = {f"$JS.API.STREAM.{verb}" for verb in ("INFO.LAB_a", "MSG.GET.LAB_a", "INFO.FILES_a")}
    own = looks & set(requests() if role == "gateway" else ())
    inbox = me.new_inbox()
    answered: list[Any] = []
    await me.subscribe(inbox, answered.append)
    for subject in requests():
        for body in BODIES if subject not in own else ():
            await me.publish(subject, body, reply=inbox)
    await me.client.flush()
    await asyncio.sleep(0.5)
    told = [message for message in answered if b"error" not in message.data and message.data]
    assert [message.data[:200] for message in told] == []
    assert await world.fingerprint(role) == before
    await me.close()


@pytest.mark.parametrize("role", ROLES)
async def test_an_answer_that_is_directed_somewhere_does_nothing_there(world: World, role: str) -> None:
    """The acknowledgement of a stored message and every answer of JetStream, sent to each request there is."""
    me = await world.connect(role)
    before = await world.fingerprint(role)
    for target in requests():
        for place in own_places(role):
            for body in (b"", b"{}"):
                await me.publish(place, body, reply=target)
        for stream, subject_filter in own_filters(role):
            verb = f"$JS.API.CONSUMER.CREATE.{stream}.evil.{subject_filter}"
            await me.publish(verb, consumer(stream, subject_filter), reply=target)
        if role == "gateway":
            await me.publish(f"$JS.API.STREAM.INFO.{lab_stream('a')}", b"", reply=target)
            await me.publish(f"$JS.API.STREAM.INFO.{chunks_stream('a')}", b'{"subjects_filter":">"}', reply=target)
            body = orjson.dumps({"last_by_subj": f"{lab_prefix('a')}.>"})
            await me.publish(f"$JS.API.STREAM.MSG.GET.{lab_stream('a')}", body, reply=target)
    await me.client.flush()
    await asyncio.sleep(1)
    assert await world.fingerprint(role) == before
    await me.close()


@pytest.mark.parametrize("role", ROLES)
async def test_the_answer_to_the_first_message_of_a_batch_does_nothing_anywhere(world: World, role: str) -> None:
    """JetStream acknowledges it by an empty message: the very order to delete a stream. So members may not batch."""
    me = await world.connect(role)
    before = await world.fingerprint(role)
    for target in requests():
        for place in own_places(role):
            for headers in ({"Nats-Batch-Id": f"b{hash(target)}"}, {"Nats-Fast-Batch-Id": f"f{hash(target)}"}):
                await me.publish(place, b"", reply=target, headers={**headers, "Nats-Batch-Sequence": "1"})
    await me.client.flush()
    await asyncio.sleep(1)
    assert await world.fingerprint(role) == before
    await me.close()


@pytest.mark.parametrize("role", ROLES)
async def test_a_message_that_replaces_all_others_replaces_none(world: World, role: str) -> None:
    me = await world.connect(role)
    before = await world.fingerprint(role)
    for place in own_places(role):
        for scope in ("all", "sub"):
            await me.publish(place, b"", headers={"Nats-Rollup": scope})
    await me.client.flush()
    await asyncio.sleep(0.3)
    assert await world.fingerprint(role) == before
    await me.close()


async def test_why_no_stream_that_members_write_to_may_take_batches(world: World) -> None:
    await world.hub.ensure_table(OBSERVED_STREAM, "observed", is_hubs_own=True)
    me = await world.connect("agent")
    target = f"$JS.API.STREAM.DELETE.{DESIRED_STREAM}"
    await me.publish(
        own_places("agent")[0], b"", reply=target, headers={"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"}
    )
    await me.client.flush()
    await asyncio.sleep(0.5)
    with pytest.raises(NotFound):
        await world.hub.api(f"STREAM.INFO.{DESIRED_STREAM}")
    await world.hub.ensure_table(OBSERVED_STREAM, "observed")
    config = (await world.hub.api(f"STREAM.INFO.{OBSERVED_STREAM}"))["config"]
    assert not config.get("allow_atomic"), "the next start of a hub takes it away"
    await me.close()


@pytest.mark.parametrize("role", ROLES)
async def test_a_consumer_that_delivers_somewhere_does_nothing_there(world: World, role: str) -> None:
    """Messages of one's own, heartbeats without content and flow control, delivered to each request there is."""
    me = await world.connect(role)
    before = await world.fingerprint(role)
    pace: dict[str, Any] = {"idle_heartbeat": 100_000_000, "flow_control": True}
    for place in own_places(role):
        await me.publish(place, b"")
    for target in requests():
        for stream, subject_filter in own_filters(role):
            for name, more in (("evil1", pace), ("evil2", {}), ("evil3", {"headers_only": True})):
                verb = f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subject_filter}"
                config = consumer(stream, subject_filter, name=name, deliver_subject=target, **more)
                await me.publish(verb, config)
    await me.client.flush()
    await asyncio.sleep(1)
    assert await world.fingerprint(role) == before
    await me.close()


@pytest.mark.parametrize("role", ROLES)
async def test_a_consumer_sees_what_its_permission_names_whatever_its_body_says(world: World, role: str) -> None:
    me = await world.connect(role)
    inbox = me.new_inbox()
    seen: list[Any] = []
    await me.subscribe(inbox, seen.append)
    for stream, subject_filter in own_filters(role):
        bodies = (
            consumer(stream, ">", deliver_subject=inbox),
            consumer(stream, "", deliver_subject=inbox),
            consumer(stream, subject_filter, deliver_subject=inbox, filter_subjects=["desired.>", "observed.>"]),
            consumer("LAB_b", subject_filter, deliver_subject=inbox),
        )
        for body in bodies:
            answer = await me.client.request(f"$JS.API.CONSUMER.CREATE.{stream}.evil.{subject_filter}", body, timeout=5)
            assert b'"error"' in answer.data, answer.data
    await asyncio.sleep(0.3)
    assert seen == []
    await me.close()


@pytest.mark.parametrize("role", ROLES)
async def test_nothing_that_others_say_is_heard(world: World, role: str) -> None:
    """Subscriptions to everything, while the hub calls another agent and that one reports."""
    me, other = await world.connect(role), await world.server.agent("b")
    heard: list[Any] = []
    for subject in (
        ">",
        "*.>",
        "_INBOX.>",
        "_CALL.>",
        "_INBOX.hub.>",
        "rpc.>",
        "hub.>",
        "desired.>",
        "$JS.>",
        "$SYS.>",
    ):
        await me.subscribe(subject, heard.append)

    async def answer(_: bytes) -> bytes:
        return b"answer"

    token = CAPABILITIES.agent("b")
    service = await other.serve(rpc_subject("b", "logs", token), answer)
    await other.client.flush()
    assert await asked(world.hub, rpc_subject("b", "logs", token)) == b"answer"
    await other.own_table(OBSERVED_STREAM, observed_prefix("cluster", "b", token)).put("heartbeat", b"2")
    await me.client.flush()
    assert heard == []
    await service.stop()
    await me.close()
    await other.close()


async def asked(bus: Bus, subject: str) -> bytes:
    """Ask until somebody answers: nats-py's flush may overtake the subscription that it should follow."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(Unavailable):
                return await bus.request(subject, b"", timeout_seconds=5)
            await asyncio.sleep(0.05)


async def test_what_a_member_needs_works(world: World) -> None:
    """Orders, reports, calls, envelopes and datasets, each with the credentials of its role."""
    agent, gateway = await world.server.agent("a"), await world.server.gateway("a")
    data, mover = await world.server.data("a", "ns"), await world.server.data("b", "ns")
    token = CAPABILITIES.agent("a")
    orders = agent.own_table(DESIRED_STREAM, desired_prefix("cluster", "a", token))
    given = await _snapshot(orders)
    assert set(given) == {"run/ns/x", "heartbeat"}
    assert await orders.barrier()
    assert await data.own_table(DESIRED_STREAM, desired_prefix("cluster", "a", token)).barrier() is None, "not its own"
    await agent.own_table(OBSERVED_STREAM, observed_prefix("cluster", "a", token)).put("heartbeat", b"1")

    writer = LogWriter(gateway, lab_stream("a"), ident="o")
    number = (await writer.resume()).number
    subject = lab_subject("a", "ns", "s")
    await writer.append(number + 1, uplink_subject(subject, CAPABILITIES.uplink("a")), b"envelope")
    await writer.flush()
    assert writer.stored == 1
    await writer.close()

    reader = LogReader(data, lab_stream("a"), subject)
    assert await reader.end() == 2
    async with contextlib.aclosing(reader.read(1)) as batches:
        assert [entry.payload for entry in await anext(batches)] == [b"envelope"]

    upload = Upload("ns", "s", "ab-9", 0)
    chunks = ChunkWriter(gateway, "a", token=CAPABILITIES.uplink("a"))
    assert await chunks.present(upload, size=1) == set()
    async with chunks.session():
        for index in (0, 4):
            await chunks.send(upload, index, b"d" * 32 + b"content")
        await chunks.flush()
    files = ChunkReader(data, "a")
    assert [chunk.content async for chunk in files.read(upload)] == [b"content", b"content"]
    assert await files.is_stored(upload)
    async with contextlib.aclosing(files.begun("ns", "s")) as uploads:
        assert await anext(uploads) == upload

    async def read(_: bytes) -> bytes:
        return b"bytes"

    place = data_subject("b", "ns", CAPABILITIES.reading("b", "ns"))
    service = await mover.serve(place, read)
    await mover.client.flush()
    assert await asked(data, place) == b"bytes"
    assert await asked(world.hub, place) == b"bytes"
    await service.stop()
    for bus in (agent, gateway, data, mover):
        await bus.close()


async def _snapshot(table: Any) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async with contextlib.aclosing(table.follow()) as items:
        async for item in items:
            if isinstance(item, Synced):
                assert item.keys == found.keys()
                return found
            assert isinstance(item, Change)
            found[item.key] = item.value or b""
    raise AssertionError("a follow does not end")


async def test_an_answer_goes_to_the_inbox_of_a_call_and_nowhere_else(world: World) -> None:
    """A member that asks the hub cannot have the hub's own rights say something where it wants."""
    agent = await world.server.agent("a")
    subject = hub_subject("cluster", "a", "renew", CAPABILITIES.agent("a"))
    heard: list[bytes] = []

    async def answer(payload: bytes) -> bytes:
        heard.append(payload)
        return b""

    service = await world.hub.serve(subject, answer)
    await world.hub.client.flush()
    assert await asked(agent, subject) == b""
    await agent.publish(subject, b"trick", reply=f"$JS.API.STREAM.DELETE.{DESIRED_STREAM}")
    assert await asked(agent, subject) == b""
    assert set(heard) == {b""}
    assert await world.hub.api(f"STREAM.INFO.{DESIRED_STREAM}")
    await service.stop()
    await agent.close()


async def test_the_hubs_own_streams_cannot_be_named_in_the_field(world: World) -> None:
    """Two accounts: what has the name of a stream of the hub is nothing where members are."""
    own = await world.server.hub(HUB)
    await own.ensure_table("STATE", "state")
    await own.table("STATE", "state").put("core/namespaces/x", b"1")
    with pytest.raises(NotFound):
        await world.hub.api("STREAM.INFO.STATE")
    with pytest.raises(Unavailable):
        await world.hub.store("state.core.namespaces.x", b"forged")
    assert (await own.table("STATE", "state").get("core/namespaces/x")).value == b"1"  # type: ignore[union-attr]
    await own.close()


async def test_why_no_member_may_read_by_direct_get(world: World) -> None:
    """One permission more, to read back one's own key, and a stream of all is deleted."""
    own = f"{observed_prefix('cluster', 'a', CAPABILITIES.agent('a'))}"
    allowed = permissions.agent("a", CAPABILITIES.agent("a"))
    read = f"$JS.API.DIRECT.GET.{OBSERVED_STREAM}.{own}.>"
    credentials = world.server.credentials(replace(allowed, publish=(*(allowed.publish or ()), read)))
    me = await world.server.connect(lambda: credentials, Identity.of_member("cluster", "a"))
    await me.own_table(OBSERVED_STREAM, own).put("heartbeat", b"")
    await me.publish(read.replace(">", "heartbeat"), b"", reply=f"$JS.API.STREAM.DELETE.{DESIRED_STREAM}")
    await me.client.flush()
    await asyncio.sleep(0.5)
    with pytest.raises(NotFound):
        await world.hub.api(f"STREAM.INFO.{DESIRED_STREAM}")
    await me.close()
