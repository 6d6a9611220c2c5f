"""Whatever a log holds and however often the sink is killed: files and ledger say what a plain model of it says."""

import asyncio
import os
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.datasets import open_dataset
from atoll.edge.sink.ingest import StreamIngest, _ReadAgainError
from atoll.edge.sink.landing import Landing
from atoll.edge.sink.ledger import VersionLedger, load
from atoll.edge.sink.reports import Reports
from atoll.edge.sink.shelf import Shelf
from atoll.edge.sink.verify import verify
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.envelope import Absence, Envelope, Reading, encode
from atoll.federation.bus.log import LogEntry
from atoll.federation.resources.stream import StreamSpec

OUTBOXES = ["a" * 32, "b" * 32]
SECOND = 1_000_000_000
START = 1_795_348_800 * SECOND
SPECS: list[dict[str, Any]] = [
    {},
    {"format": "jsonl", "roll": {"bytes": 1024}},
    {"format": "jsonl", "compression": "Zstd", "partitions": "Hour", "lateness": "1m"},
    {"format": "parquet", "payload": {"format": "JSON"}, "roll": {"bytes": 1024}, "lateness": "1m"},
    {"format": "raw", "partitions": "Day"},
]


@dataclass
class Truth:
    """What was sent, and what of it can be in files."""

    log: list[Envelope] = field(default_factory=list)
    received: dict[str, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    gaps: set[tuple[str, int]] = field(default_factory=set)
    shed: set[tuple[str, int]] = field(default_factory=set)
    duplicates: int = 0


def fate(draw: Any) -> str:
    return str(draw(st.sampled_from(["sent"] * 5 + ["lost", "twice", "shed"])))


@st.composite
def truths(draw: Any) -> Truth:
    """Give a log of two outboxes, one after the other, in which envelopes are lost, repeated or shed."""
    truth = Truth()
    for outbox in OUTBOXES:
        first = 1
        for number in range(1, draw(st.integers(1, 9)) + 1):
            dataset, size = draw(st.sampled_from(["x", "y"])), draw(st.integers(1, 3))
            happened, numbers = fate(draw), range(first, first + size)
            shift = draw(st.sampled_from([0, 0, 0, -30, -3600, 7200])) * SECOND
            readings = tuple(
                Reading(START + n * SECOND, f"t/{n % 2}", b'{"n": %d}' % n, START + n * SECOND + shift) for n in numbers
            )
            envelope = Envelope(outbox, "lab", "ns", "s", dataset, number, first, readings)
            named = {(outbox, n) for n in numbers}
            if happened == "shed":
                envelope = Envelope(outbox, "lab", "ns", "s", dataset, number, first, (), absence=Absence("shed", size))
                truth.shed |= named
            elif happened == "lost":
                truth.gaps |= named
            else:
                truth.received[dataset] |= named
            if happened != "lost":
                truth.log.append(envelope)
            if happened == "twice":
                truth.log.append(envelope)
                truth.duplicates += size
            first += size
        # What is missing shows with what comes after it.
        truth.log.append(
            Envelope(outbox, "lab", "ns", "s", "x", 99, first, (Reading(START, "t/0", b"{}", START + first * SECOND),))
        )
        truth.received["x"].add((outbox, first))
    return truth


class Sink:
    """A sink without a network: entries of the log are handed to it."""

    def __init__(self, root: Path, spec: StreamSpec) -> None:
        self.shelf = Shelf(Volume(root))
        self.shelf.scan()
        nobody = cast("Bus", None)
        reports = Reports(nobody, cluster="onprem", namespace="ns", token="-")
        landing = Landing(nobody, Volume(root), reports.wanted)
        order = StreamOrder(namespace="ns", name="s", spec=spec)
        self.ingest = StreamIngest(nobody, self.shelf, reports, order, landing=landing)

    @property
    def position(self) -> int:
        return self.shelf.progress("lab", "s").log_sequence

    async def take(self, log: list[LogEntry], through: int) -> None:
        """Read the log up to a place, and again from its start where there is doubt."""
        position = self.position
        while batch := [entry for entry in log if position < entry.sequence <= through]:
            try:
                await self.ingest._take(batch)
                return
            except _ReadAgainError:
                position = 0


async def run(truth: Truth, root: Path, spec: StreamSpec, stops: list[tuple[int, bool]]) -> None:
    """Take the log in, in parts; after each part the sink may be killed."""
    log = [LogEntry(number, "", encode(envelope)) for number, envelope in enumerate(truth.log, 1)]
    sink = Sink(root, spec)
    for size, is_killed in [*stops, (len(log), False)]:
        await sink.take(log, min(sink.position + size, len(log)))
        if is_killed:
            sink = Sink(root, spec)
    await sink.take(log, len(log))
    sink.shelf.roll("lab", "s", at_once=True)


def ledger_of(root: Path, dataset: str) -> VersionLedger:
    ledger = load(root / dataset / "v1")
    assert ledger is not None
    return ledger


@settings(max_examples=40, deadline=None)
@given(truths(), st.sampled_from(SPECS), st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=5))
def test_each_reading_is_once_in_the_files_and_the_ledger_equals_the_truth(
    truth: Truth, changes: dict[str, Any], stops: list[tuple[int, bool]]
) -> None:
    spec = StreamSpec(gateway="lab", topics=("t/#",), dataset="{topic[0]}", home="onprem", **changes)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)  # no power is lost here (test_sink_crashes)
        root = Path(folder)
        asyncio.run(run(truth, root, spec, stops))
        gaps, shed, duplicates = set(), set(), 0
        for dataset, expected in truth.received.items():
            report, ledger = verify(root, dataset, 1), ledger_of(root, dataset)
            assert report.problems == ()
            assert report.readings == report.received == len(expected)
            found = sorted(reading.sequence for reading in open_dataset(root / dataset).readings())
            assert found == sorted(number for _, number in expected)
            feeds = {feed.outbox: feed for feed in ledger.ledger.feeds}
            stated = {(o, n) for o, feed in feeds.items() for i in feed.intervals for n in range(i.first, i.last + 1)}
            assert stated == expected
            gaps |= {
                (o, n) for o, feed in feeds.items() for i in feed.gap_intervals for n in range(i.first, i.last + 1)
            }
            shed |= {
                (o, n) for o, feed in feeds.items() for i in feed.shed_intervals for n in range(i.first, i.last + 1)
            }
            duplicates += ledger.ledger.duplicates
        for dataset in {"x", "y"} - truth.received.keys():  # nothing but what was shed
            if (root / dataset).exists():
                feeds = {feed.outbox: feed for feed in ledger_of(root, dataset).ledger.feeds}
                shed |= {(o, n) for o, f in feeds.items() for i in f.shed_intervals for n in range(i.first, i.last + 1)}
                gaps |= {(o, n) for o, f in feeds.items() for i in f.gap_intervals for n in range(i.first, i.last + 1)}
                duplicates += ledger_of(root, dataset).ledger.duplicates
        assert (gaps, shed, duplicates) == (truth.gaps, truth.shed, truth.duplicates)
