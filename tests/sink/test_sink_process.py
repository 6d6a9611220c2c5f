"""The sink against a real NATS: what it reads, what it counts, what it reports, and what it never does twice."""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.sink.main import run
from atoll.edge.sink.settings import SinkSettings
from atoll.edge.sink.verify import verify
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommitOrder, CommittedReport, DatasetReport, StreamOrder
from atoll.federation.bus.envelope import Envelope, Reading, encode
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.log_writer import LogWriter
from atoll.federation.bus.membership import Membership
from atoll.federation.bus.messages import Message
from atoll.federation.bus.subjects import (
    DESIRED_STREAM,
    OBSERVED_STREAM,
    desired_prefix,
    lab_prefix,
    lab_stream,
    lab_subject,
    observed_prefix,
)
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.stream import StreamSpec

OUTBOX = "a" * 32
ORDER = StreamOrder(
    namespace="ns", name="s", spec=StreamSpec(gateway="lab", topics=("t/#",), dataset="run", home="onprem")
)


def envelope(number: int, first: int, count: int = 2, **changes: Any) -> Envelope:
    readings = tuple(Reading(n, "t/x", f"<{n}>".encode()) for n in range(first, first + count))
    fields: dict[str, Any] = {"outbox": OUTBOX, "dataset": "run", "readings": readings, "end_of_run": False} | changes
    return Envelope(gateway="lab", namespace="ns", stream="s", number=number, first=first, **fields)


async def until(question: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait for a true answer."""
    async with asyncio.timeout(seconds):
        while not (answer := await question()):
            await asyncio.sleep(0.05)
    return answer


class World:
    """A bus with the log of one gateway, and a sink on a folder."""

    def __init__(self, bus: Bus, url: str, root: Path) -> None:
        self.bus, self.root = bus, root
        self.settings = SinkSettings("onprem", "ns", Membership(url), root)
        self.desired = bus.table(DESIRED_STREAM, desired_prefix("cluster", "onprem"))
        self._sink: asyncio.Task[Any] | None = None

    async def begin(self) -> None:
        await self.make_log()

    async def make_log(self) -> str:
        """Do what the hub does for a log that is not there; tell which one it is."""
        await self.bus.ensure_log(lab_stream("lab"), lab_prefix("lab"), max_bytes=1 << 26)
        created = (await LogTrimmer(self.bus, lab_stream("lab")).extent()).created
        await self.desired.put("stream/ns/s", ORDER.model_copy(update={"log_created": created}).encode())
        return created

    def start(self) -> None:
        self._sink = asyncio.create_task(run(self.settings))

    async def stop(self) -> None:
        if self._sink is not None:
            self._sink.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sink
            self._sink = None

    async def send(self, *envelopes: Envelope, ident: str = "log") -> None:
        """Append to the gateway's log, whatever the envelopes say."""
        await self.send_bytes(*(encode(item) for item in envelopes), ident=ident)

    async def send_bytes(self, *payloads: bytes, ident: str = "log") -> None:
        writer = LogWriter(self.bus, lab_stream("lab"), ident=ident)
        number = (await writer.resume()).number
        for payload in payloads:
            number += 1
            await writer.append(number, lab_subject("lab", "ns", "s"), payload)
        await writer.flush()
        await writer.close()

    async def observed(self, kind: Any, name: str, key: str, model: type[Message]) -> Any:
        change = await self.bus.table(OBSERVED_STREAM, observed_prefix(kind, name)).get(key)
        return model.decode(change.value) if change and change.value is not None else None

    async def report(self, dataset: str = "run") -> DatasetReport | None:
        report = await self.observed("cluster", "onprem", f"dataset/ns/{dataset}", DatasetReport)
        return report if report is None or isinstance(report, DatasetReport) else None

    async def received(self, count: int, version: int = 1) -> DatasetReport:
        async def enough() -> Any:
            report = await self.report()
            return report if report and (report.version, report.ledger.received) == (version, count) else None

        found: DatasetReport = await until(enough)
        return found

    async def place(self) -> tuple[int, str] | None:
        """Tell where in which log the sink says that its Stream is."""
        report = await self.observed("gateway", "lab", "committed/ns/onprem", CommittedReport)
        return (report.commits[0].log_sequence, report.commits[0].log_created) if report else None

    def content(self, version: int = 1) -> bytes:
        return (self.root / "run" / f"v{version}" / "t.x").read_bytes()


@pytest.fixture
async def world(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[World]:
    root = tmp_path / "volume"
    root.mkdir()
    world = World(bus, nats_server.url, root)
    await world.begin()
    world.start()
    yield world
    await world.stop()


async def test_readings_become_a_file_and_a_version_ends_with_its_marker(world: World) -> None:
    await world.send(envelope(1, 1), envelope(2, 3, end_of_run=True), envelope(3, 5))
    await world.received(2, version=2)
    assert world.content(1) == b"<1><2><3><4>"
    assert world.content(2) == b"<5><6>"
    assert verify(world.root, "run", 1).complete


async def test_a_complete_version_is_reported_with_what_proves_it(world: World) -> None:
    await world.send(envelope(1, 1, end_of_run=True))
    report = await world.received(2)
    assert (report.complete, report.files, report.bytes, report.error) == (True, 1, 6, "")
    assert report.manifest_sha256 == verify(world.root, "run", 1).manifest_sha256
    assert [(source.source, source.received) for source in report.ledger.sources] == [("t/x", 2)]


async def test_the_gateway_is_told_how_far_its_stream_is_in_files(world: World) -> None:
    await world.send(envelope(4, 1), envelope(9, 3))

    async def is_committed() -> bool:
        report = await world.observed("gateway", "lab", "committed/ns/onprem", CommittedReport)
        told = [(c.stream, c.outbox, c.envelope, c.sequence) for c in report.commits] if report else []
        return told == [("s", OUTBOX, 9, 4)]

    await until(is_committed)


async def test_the_hub_is_told_up_to_where_the_log_is_in_files_and_in_which_log(world: World) -> None:
    await world.send(envelope(1, 1), envelope(2, 3))
    made = (await LogTrimmer(world.bus, lab_stream("lab")).extent()).created

    async def is_told() -> bool:
        return await world.place() == (2, made)

    await until(is_told)


async def test_a_place_in_a_log_that_is_gone_is_taken_back_before_anything_new_is_in_files(world: World) -> None:
    """The log of before ended at 2: a hub that trims the new one by that would delete what no file has."""
    await world.send(envelope(1, 1), envelope(2, 3))
    await world.received(4)
    await world.bus.api(f"STREAM.DELETE.{lab_stream('lab')}")
    made = await world.make_log()

    async def is_told() -> bool:
        return await world.place() == (0, made)

    await until(is_told)


async def test_missing_readings_are_counted_as_a_gap(world: World) -> None:
    await world.send(envelope(1, 1), envelope(3, 6))
    report = await world.received(4)
    assert (report.ledger.gaps, report.ledger.duplicates) == (3, 0)


async def test_a_repeated_envelope_is_dropped_and_counted(world: World) -> None:
    await world.send(envelope(1, 1), envelope(1, 1), envelope(2, 3))
    report = await world.received(4)
    assert (report.ledger.gaps, report.ledger.duplicates) == (0, 2)
    assert world.content() == b"<1><2><3><4>"


async def test_a_damaged_envelope_is_a_gap_and_stops_nothing(world: World) -> None:
    damaged = bytearray(encode(envelope(2, 3)))
    damaged[-1] ^= 1
    await world.send_bytes(encode(envelope(1, 1)), bytes(damaged), encode(envelope(3, 5)))
    assert (await world.received(4)).ledger.gaps == 2


async def test_an_envelope_under_another_streams_subject_is_left_out(world: World) -> None:
    foreign = encode(envelope(1, 1)).replace(b"\x03\x00lab", b"\x03\x00bad")
    await world.send_bytes(foreign, encode(envelope(1, 1)))
    assert (await world.received(2)).ledger.sources[0].gateway == "lab"


async def test_a_new_outbox_begins_at_one_without_a_gap(world: World) -> None:
    await world.send(envelope(1, 1), envelope(1, 1, outbox="b" * 32))
    report = await world.received(4)
    assert (report.ledger.gaps, report.ledger.duplicates) == (0, 0)


async def test_a_restarted_sink_goes_on_where_the_files_are(world: World) -> None:
    await world.send(envelope(1, 1))
    await world.received(2)
    await world.stop()
    await world.send(envelope(2, 3))
    world.start()
    report = await world.received(4)
    assert (report.ledger.gaps, report.ledger.duplicates) == (0, 0)
    assert world.content() == b"<1><2><3><4>"


async def test_a_restarted_sink_reports_what_is_there_again(world: World) -> None:
    await world.send(envelope(1, 1, end_of_run=True))
    await world.received(2)
    await world.stop()
    observed = world.bus.table(OBSERVED_STREAM, observed_prefix("cluster", "onprem"))
    await observed.delete("dataset/ns/run")
    world.start()
    assert (await world.received(2)).complete


async def test_a_log_that_was_made_anew_is_read_from_its_start(world: World) -> None:
    """Its sequences begin at 1 again: from its old position the sink would wait for ever."""
    await world.send(envelope(1, 1), envelope(2, 3), envelope(3, 5))
    await world.received(6)
    await world.bus.api(f"STREAM.DELETE.{lab_stream('lab')}")
    await world.make_log()
    await world.send(envelope(4, 7), ident="again")
    report = await world.received(8)
    assert report.ledger.gaps == 0


async def test_a_new_log_that_holds_only_what_is_in_files_can_be_trimmed_all_the_same(world: World) -> None:
    """Seed 34 of the twin's readings: such a log that was full stayed so, and nothing new could come."""
    sent = envelope(1, 1), envelope(2, 3)
    await world.send(*sent)
    await world.received(4)
    await world.bus.api(f"STREAM.DELETE.{lab_stream('lab')}")
    made = await world.make_log()
    await world.send(*sent, ident="again")

    async def is_told() -> bool:
        return await world.place() == (2, made)

    await until(is_told)
    await world.send(envelope(3, 5), ident="again")
    assert (await world.received(6)).ledger.duplicates == 0


async def test_a_full_volume_stops_reading_says_so_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def full(descriptor: int, data: Any, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    await world.send(envelope(1, 1), envelope(2, 3))

    async def says_so() -> bool:
        report = await world.report()
        return report is not None and "No space left" in report.error

    await until(says_so)
    monkeypatch.setattr(os, "pwrite", write)
    report = await world.received(4)
    assert (report.error, report.ledger.gaps, report.ledger.duplicates) == ("", 0, 0)


async def test_what_is_held_back_for_a_segment_is_told_of_when_it_is_in_a_file(world: World) -> None:
    """A restart before that takes it from the log again; the log is not trimmed meanwhile."""
    created = (await LogTrimmer(world.bus, lab_stream("lab")).extent()).created
    spec = {"format": "jsonl", "compression": "Zstd", "roll": {"age": "1h"}}
    for age in ("1h", "1s"):
        wanted = StreamSpec.model_validate(ORDER.spec.wire() | spec | {"roll": {"age": age}})
        order = ORDER.model_copy(update={"log_created": created, "spec": wanted})
        await world.desired.put("stream/ns/s", order.encode())
        if age == "1h":
            await world.send(envelope(1, 1), envelope(2, 3))
            await world.stop()
            assert await world.report() is None
            world.start()
    report = await world.received(4)
    assert (report.ledger.segments, report.ledger.gaps, report.ledger.duplicates) == (1, 0, 0)
    await until(lambda: _is_at(world, 2))
    assert verify(world.root, "run", 1).readings == 4


async def _is_at(world: World, sequence: int) -> bool:
    place = await world.place()
    return place is not None and place[0] == sequence


async def test_nothing_is_read_of_a_stream_that_is_not_wanted(world: World) -> None:
    await world.send(envelope(1, 1))
    await world.received(2)
    await world.desired.delete("stream/ns/s")
    await asyncio.sleep(0.5)
    await world.send(envelope(2, 3))
    await asyncio.sleep(1)
    assert world.content() == b"<1><2>"
    await world.desired.put("stream/ns/s", ORDER.encode())
    await world.received(4)


async def test_a_run_output_is_committed_and_a_stale_epoch_is_told_no(world: World) -> None:
    output = world.root / ".runs" / "job-1-e1" / "picks"
    output.mkdir(parents=True)
    (output / "picks.csv").write_text("a\n")
    order = CommitOrder(namespace="ns", dataset="picks", version=1, run="job-1", epoch=1)
    await world.desired.put("commit/ns/picks", order.encode())

    async def sealed() -> Any:
        report = await world.report("picks")
        return report if report and report.complete else None

    report = await until(sealed)
    assert (report.produced_by, report.files) == ("job-1", 1)
    await world.desired.put("commit/ns/picks", order.model_copy(update={"run": "job-2", "epoch": 2}).encode())

    async def refused() -> Any:
        report = await world.report("picks")
        return report if report and report.error else None

    report = await until(refused)
    assert "job-1 epoch 1" in report.error
    assert report.produced_by == "job-1"


async def test_a_second_sink_on_the_same_volume_waits_for_the_first(world: World) -> None:
    await world.send(envelope(1, 1))
    await world.received(2)
    second = World(world.bus, world.settings.membership.nats_url, world.root)
    second.start()
    await asyncio.sleep(1)
    await world.send(envelope(2, 3))
    await world.received(4)
    assert world.content() == b"<1><2><3><4>"
    await world.stop()
    await world.send(envelope(3, 5))
    await world.received(6)
    await second.stop()


async def test_a_root_that_is_no_folder_is_named(nats_server: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="mount"):
        await run(SinkSettings("onprem", "ns", Membership(nats_server.url), tmp_path / "absent"))
