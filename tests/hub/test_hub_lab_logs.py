"""The hub makes room in a filled log: what is in files goes, what is waited for stays, what nobody wants is told."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommittedReport, StreamCommit
from atoll.federation.bus.extent import StreamExtent
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.log_writer import LogWriter
from atoll.federation.bus.subjects import OBSERVED_STREAM, lab_subject, observed_prefix, uplink_subject
from atoll.federation.resources import Stream
from atoll.hub.controllers.lab_logs import find_orphans, is_filled, plan_trims
from hub.support import HubClient, eventually, manifest, path_of, running_hub

LAB = "seismology"
LOG_BYTES = 50_000
LOG = StreamExtent("now", last_sequence=100)


def stream_manifest(name: str) -> dict[str, Any]:
    spec = {"gateway": "lab-a", "topics": [f"{name}/#"], "dataset": name, "home": "onprem"}
    return manifest("Stream", name, spec, LAB)


def stream(name: str) -> Stream:
    return Stream.model_validate(stream_manifest(name))


def report(name: str, sequence: int, *, created: str = "now", cluster: str = "onprem") -> CommittedReport:
    commit = StreamCommit(stream=name, outbox="o", envelope=1, sequence=1, log_sequence=sequence, log_created=created)
    return CommittedReport(namespace=LAB, cluster=cluster, commits=(commit,), at=datetime.now(UTC))


A = lab_subject("lab-a", LAB, "a")
TRIMS = {
    "what its home committed goes": ([report("a", 70)], {A: 70}),
    "what another cluster has does not": ([report("a", 70, cluster="cloud")], {}),
    "a position in the log of before says nothing": ([report("a", 70, created="before")], {}),
    "a position beyond the log's end says nothing": ([report("a", 101)], {}),
    "a sink that has begun the log again says nothing": ([report("a", 0)], {}),
    "what any sink has of a deleted Stream goes": (
        [report("gone.1", 5), report("gone.1", 9, cluster="cloud")],
        {lab_subject("lab-a", LAB, "gone.1"): 9},
    ),
}


@pytest.mark.parametrize("name", TRIMS)
def test_of_a_filled_log(name: str) -> None:
    reports, trims = TRIMS[name]
    assert plan_trims("lab-a", LOG, [stream("a")], reports) == trims


def test_an_orphan_is_a_subject_that_no_stream_has() -> None:
    subjects = [A, lab_subject("lab-a", LAB, "gone.1")]
    assert find_orphans("lab-a", subjects, [stream("a"), stream("b")]) == [lab_subject("lab-a", LAB, "gone.1")]


def test_a_log_is_filled_above_half_of_its_size() -> None:
    assert not is_filled(StreamExtent("now", 1, bytes=50, max_bytes=100))
    assert is_filled(StreamExtent("now", 1, bytes=51, max_bytes=100))


@pytest.fixture
async def hub(nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    async with running_hub(nats_server.url, tmp_path, lab_log_bytes=LOG_BYTES, orphan_keep_seconds=1.0) as client:
        await client.apply(
            manifest("Namespace", LAB),
            manifest("Cluster", "onprem"),
            manifest("Gateway", "lab-a"),
            stream_manifest("kept"),
            stream_manifest("gone"),
        )
        yield client


class Log:
    """The log of lab-a: what a gateway appends, and what is left."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._number = 0
        self._writer = LogWriter(bus, "LAB_lab-a", ident="o")

    async def append(self, name: str, count: int) -> int:
        """Append envelopes of 1000 bytes; give the newest one's sequence."""
        await self._writer.resume()
        for _ in range(count):
            self._number += 1
            await self._writer.append(self._number, uplink_subject(lab_subject("lab-a", LAB, name)), b"x" * 1000)
        await self._writer.flush()
        return (await LogTrimmer(self._bus, "LAB_lab-a").extent()).last_sequence

    async def left(self) -> dict[str, int]:
        info = await self._bus.api("STREAM.INFO.LAB_lab-a", {"subjects_filter": ">"})
        return {subject.rpartition(".")[2]: count for subject, count in info["state"].get("subjects", {}).items()}

    async def commit(self, name: str, sequence: int) -> None:
        created = (await LogTrimmer(self._bus, "LAB_lab-a").extent()).created
        table = self._bus.table(OBSERVED_STREAM, observed_prefix("gateway", "lab-a"))
        await table.put(f"committed/{LAB}/onprem", report(name, sequence, created=created).encode())


@pytest.fixture
async def log(bus: Bus, hub: HubClient) -> Log:
    async def is_made() -> bool:
        names = (await bus.api("STREAM.NAMES"))["streams"]
        return "LAB_lab-a" in names

    await eventually(is_made)
    return Log(bus)


async def test_a_filled_log_loses_exactly_what_is_in_files(hub: HubClient, log: Log) -> None:
    middle = await log.append("kept", 20)
    await log.append("kept", 20)
    await log.commit("kept", middle)

    async def is_trimmed() -> bool:
        return await log.left() == {"kept": 20}

    await eventually(is_trimmed)


async def test_a_log_with_room_keeps_what_is_in_files_as_a_source_to_send_again(hub: HubClient, log: Log) -> None:
    await log.commit("kept", await log.append("kept", 10))
    await asyncio.sleep(1.5)
    assert await log.left() == {"kept": 10}


async def test_what_a_deleted_stream_left_goes_when_its_room_is_needed_and_is_told(hub: HubClient, log: Log) -> None:
    await log.append("gone", 10)
    await hub.http.delete(path_of(stream_manifest("gone")))
    await log.append("kept", 30)

    async def is_trimmed() -> bool:
        return await log.left() == {"kept": 30}

    async def is_told() -> list[str]:
        events = (await hub.get("/api/v1/namespaces/default/events"))["items"]
        return [event["message"] for event in events if event["reason"] == "EnvelopesDropped"]

    await log.commit("kept", 0)  # the hub looks
    await eventually(is_trimmed)
    [message] = await eventually(is_told)
    assert message.startswith(f"10 envelopes of Stream {LAB}/gone were dropped")


async def test_a_stream_that_comes_back_in_time_finds_its_envelopes(hub: HubClient, log: Log) -> None:
    await log.append("gone", 10)
    middle = await log.append("kept", 10)
    await log.append("kept", 20)
    await hub.http.delete(path_of(stream_manifest("gone")))
    await log.commit("kept", middle)

    async def is_noticed() -> bool:
        return await log.left() == {"gone": 10, "kept": 20}

    await eventually(is_noticed)
    await hub.apply(stream_manifest("gone"))
    await asyncio.sleep(2.0)  # twice the time that an orphan is kept
    assert await is_noticed()
