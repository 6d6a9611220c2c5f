"""Verification recomputes all from the files, and names what is not as the ledger says; the reader reads the same."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from atoll.datasets import open_dataset
from atoll.edge.sink.arrival import Absent, Arrival
from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.form import Form
from atoll.edge.sink.index import INDEX, RECORD
from atoll.edge.sink.ledger import load, save
from atoll.edge.sink.merkle import merkle_root
from atoll.edge.sink.shelf import Shelf
from atoll.edge.sink.verify import verify
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.errors import Internal, InvalidInput, NotFound

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_795_348_800 * SECOND  # 2026-11-22T12:00:00Z


def envelope(number: int, times: list[int], **changes: Any) -> Envelope:
    first = changes.pop("first", number * 100)
    readings = tuple(
        Reading(START + HOUR, f"t/{n % 2}", b'{"n":%d}' % n, START + at) for n, at in enumerate(times, first)
    )
    return Envelope("0" * 32, "lab", "ns", "s", "d", number, first, readings, **changes)


def take_in(root: Path, form: Form, *arrivals: Arrival) -> Path:
    """Commit arrivals, each on its own; give the version's folder."""
    shelf = Shelf(Volume(root))
    shelf.scan()
    progress = shelf.progress("lab", "s")
    for arrival in arrivals:
        progress = progress.after(arrival.envelope)
        shelf.append([arrival._replace(form=form)], progress)
    shelf.roll("lab", "s", at_once=True)
    return root / "d" / "v1"


def rewrite(folder: Path, **changes: Any) -> None:
    """Change what the ledger says, and keep its own sums right: only the readings can tell."""
    ledger = load(folder)
    assert ledger is not None
    feeds = tuple(feed.model_copy(update=changes) for feed in ledger.ledger.feeds)
    save(folder, ledger.model_copy(update={"ledger": ledger.ledger.model_copy(update={"feeds": feeds})}))


def replace_index(folder: Path, change: Callable[[Any], Any]) -> None:
    """Change records of the index, with size, hash and Merkle root made to fit."""
    ledger = load(folder)
    assert ledger is not None
    assert ledger.index is not None
    data = change(numpy.fromfile(folder / INDEX, RECORD)).tobytes()
    (folder / INDEX).write_bytes(data)
    index = ledger.index.model_copy(update={"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    ledger = ledger.model_copy(update={"index": index})
    counts = ledger.ledger.model_copy(update={"merkle_root": merkle_root(ledger.proven_files())})
    save(folder, ledger.model_copy(update={"ledger": counts}))


def _twice(records: Any) -> Any:
    records["sequence"][1] = records["sequence"][0]
    return records


def _shifted(records: Any) -> Any:
    records["offset"][-1] += 1
    return records


RAW, TABLE = Form(), Form("parquet", payload="JSON", roll_bytes=1)


@pytest.mark.parametrize(
    ("form", "damage", "problem"),
    [
        (RAW, lambda folder: replace_index(folder, _twice), "a reading is there twice"),
        (RAW, lambda folder: replace_index(folder, _shifted), "do not cover"),
        (RAW, lambda folder: replace_index(folder, lambda records: records[:-1]), "do not cover"),
        (RAW, lambda folder: (folder / INDEX).write_bytes(b""), "index.bin: has 0 bytes"),
        (RAW, lambda folder: rewrite(folder, received=9), "not 9 in"),
        (TABLE, lambda folder: rewrite(folder, received=9), "not 9 in"),
        (TABLE, lambda folder: rewrite(folder, interval_count=7), "in 7"),
        (TABLE, lambda folder: rewrite(folder, gaps=3), "gaps per outbox are more"),
        (TABLE, lambda folder: next(folder.glob("*.parquet")).unlink(), "cannot be read"),
        (TABLE, lambda folder: next(folder.glob("*.parquet")).write_bytes(b"PAR1"), "has 4 bytes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, form: Form, damage: Callable[[Path], Any], problem: str) -> None:
    folder = take_in(tmp_path, form, Arrival(envelope(1, [0, 1, 2]), form))
    assert verify(tmp_path, "d", 1).problems == ()
    damage(folder)
    problems = verify(tmp_path, "d", 1).problems
    assert any(problem in found for found in problems), problems


def test_late_readings_lie_in_a_supplement_and_partitions_by_their_own_time(tmp_path: Path) -> None:
    form = Form("parquet", payload="JSON", partitions="Hour", lateness_ns=60 * SECOND, roll_bytes=10**6)
    folder = take_in(
        tmp_path,
        form,
        Arrival(envelope(1, [600 * SECOND, 601 * SECOND]), form),
        Arrival(envelope(2, [590 * SECOND, 400 * SECOND, -10 * SECOND]), form),
    )
    ledger = load(folder)
    assert ledger is not None
    found = {(path.parent.name, path.name.partition(".")[2][6:], count) for path, count in (
        (folder / segment.path, segment.readings) for segment in ledger.segments
    )}  # fmt: skip
    assert found == {("hour=12", ".parquet", 3), ("hour=12", ".late.parquet", 1), ("hour=11", ".late.parquet", 1)}
    assert (ledger.ledger.late, ledger.ledger.received) == (2, 5)
    assert verify(tmp_path, "d", 1).problems == ()


def test_a_clock_that_runs_ahead_makes_nobody_else_late(tmp_path: Path) -> None:
    form = Form("jsonl", is_compressed=True, roll_bytes=10**6)
    ahead = envelope(1, [10**6 * SECOND])
    folder = take_in(tmp_path, form, Arrival(ahead, form), Arrival(envelope(2, [HOUR, HOUR - 1]), form))
    ledger = load(folder)
    assert ledger is not None
    assert ledger.ledger.late == 0


def test_a_file_is_rolled_by_size_and_the_next_has_a_number(tmp_path: Path) -> None:
    form = Form("jsonl", roll_bytes=300)
    arrivals = [Arrival(envelope(number, [0, 1]), form) for number in range(1, 7)]
    folder = take_in(tmp_path, form, *arrivals)
    assert sorted(path.name for path in folder.glob("t*")) == [
        "t.0.000002.jsonl", "t.0.jsonl", "t.1.000002.jsonl", "t.1.jsonl",
    ]  # fmt: skip
    assert verify(tmp_path, "d", 1).problems == ()
    again = take_in(tmp_path, form, Arrival(envelope(7, [0, 1]), form))
    assert len(list(open_dataset(again).readings())) == 14
    assert verify(tmp_path, "d", 1).problems == ()


def test_readings_of_files_that_grew_side_by_side_come_file_by_file_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atoll.datasets._RECORDS_AT_ONCE", 3)  # so that runs end at edges of what is read at once
    for number in range(1, 8):
        folder = take_in(tmp_path, RAW, Arrival(envelope(number, range(number % 3 + 1)), RAW))
    found = [(reading.topic, reading.sequence, reading.value) for reading in open_dataset(folder).readings()]
    assert found == sorted(found, key=lambda one: one[:2])
    assert len(found) == sum(number % 3 + 1 for number in range(1, 8))
    for topic in ("t/0", "t/1"):
        whole = b"".join(value for of, _, value in found if of == topic)
        assert whole == (folder / topic.replace("/", ".")).read_bytes()


def test_gaps_and_shed_readings_are_listed_by_their_numbers(tmp_path: Path) -> None:
    absent = (Absent("0" * 32, 95, 97), Absent("0" * 32, 98, 99, is_shed=True))
    folder = take_in(tmp_path, RAW, Arrival(envelope(1, [0]), RAW, absent, repeated=2))
    ledger = load(folder)
    assert ledger is not None
    [feed] = ledger.ledger.feeds
    assert [(i.first, i.last) for i in feed.gap_intervals] == [(95, 97)]
    assert [(i.first, i.last) for i in feed.shed_intervals] == [(98, 99)]
    assert (ledger.ledger.gaps, ledger.ledger.shed, ledger.ledger.duplicates) == (3, 2, 2)


def test_a_list_of_intervals_stays_short_and_the_count_whole(tmp_path: Path) -> None:
    arrivals = [Arrival(envelope(number, [0], first=number * 2), TABLE) for number in range(1, 151)]
    form = Form("jsonl", is_compressed=True, roll_bytes=10**6)
    folder = take_in(tmp_path, form, *arrivals)
    ledger = load(folder)
    assert ledger is not None
    [feed] = ledger.ledger.feeds
    assert (len(feed.intervals), feed.interval_count, feed.intervals[-1].last) == (100, 150, 300)
    assert verify(tmp_path, "d", 1).problems == ()


def test_a_version_that_an_older_sink_began_goes_on(tmp_path: Path) -> None:
    """It has no index and no feeds: what it holds counts, and what comes is numbered from there on."""
    folder = take_in(tmp_path, RAW, Arrival(envelope(1, [0, 1]), RAW))
    known = json.loads((folder / ".atoll" / "ledger.json").read_bytes())
    for name in ("index", "segments", "numbered"):
        known.pop(name, None)
    for name in ("feeds", "late", "segments", "merkleRoot"):
        known["ledger"].pop(name)
    for source in known["ledger"]["sources"]:
        source.pop("firstAt")
        source.pop("isFile")
    (folder / ".atoll" / "ledger.json").write_text(json.dumps(known))
    (folder / INDEX).unlink()
    assert verify(tmp_path, "d", 1).problems == ()
    take_in(tmp_path, RAW, Arrival(envelope(2, [0, 1]), RAW))
    report = verify(tmp_path, "d", 1)
    assert (report.problems, report.received, report.readings) == ((), 4, 2)
    assert (folder / "t.0").read_bytes() == b'{"n":100}{"n":200}'


def test_a_damaged_ledger_is_named_and_not_written_over(tmp_path: Path) -> None:
    folder = take_in(tmp_path, RAW, Arrival(envelope(1, [0]), RAW))
    (folder / ".atoll" / "ledger.json").write_text('{"format": 1,')
    shelf = Shelf(Volume(tmp_path))
    with pytest.raises(Internal, match=r"ledger\.json is damaged"):
        shelf.scan()
    with pytest.raises(Internal, match=r"ledger\.json is damaged"):
        shelf.append([Arrival(envelope(2, [0]), RAW)], Progress("lab", "s"))
    assert (folder / ".atoll" / "ledger.json").read_text() == '{"format": 1,'


def test_a_version_that_was_deleted_under_the_sink_begins_anew(tmp_path: Path) -> None:
    shelf = Shelf(Volume(tmp_path))
    for number in (1, 2):
        one = envelope(number, [0])
        shelf.append([Arrival(one, RAW)], shelf.progress("lab", "s").after(one))
        if number == 1:
            for path in sorted((tmp_path / "d").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
    assert [reading.sequence for reading in open_dataset(tmp_path / "d").readings()] == [200]


def test_the_merkle_root_is_that_of_rfc_6962() -> None:
    """Seven leaves, as in the RFC's own example of a tree that is not full: split at four."""
    files = [ManifestFile(path=str(n), bytes=n, sha256="00") for n in range(7)]

    def root(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return hashlib.sha256(b"\0" + leaves[0]).digest()
        cut = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + root(leaves[:cut]) + root(leaves[cut:])).digest()

    assert merkle_root(reversed(files)) == root([b"%d\0%d\x0000" % (n, n) for n in range(7)]).hex()


def test_a_source_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no version"):
        open_dataset(tmp_path)
    folder = take_in(tmp_path, RAW, Arrival(envelope(1, [0]), RAW))
    with pytest.raises(NotFound, match="version 7"):
        open_dataset(folder.parent, version=7)
    with pytest.raises(InvalidInput, match="namespace/name"):
        open_dataset("no-such-folder")
    opened = open_dataset(folder.parent)
    assert (opened.name, opened.version, [path.name for path in opened.paths()]) == ("d", 1, ["t.0"])


@pytest.mark.parametrize("name", ["another.000001.jsonl.zst", "t.of.another", "date=2026-11-23/t.of.another"])
@pytest.mark.parametrize("has_ledger", [False, True])
def test_what_a_kill_left_of_a_commit_is_in_no_version(name: str, has_ledger: bool, tmp_path: Path) -> None:
    """Seed 470 of the twin's readings: another Stream completed the version, and the proof failed on that file."""
    if has_ledger:
        take_in(tmp_path, RAW, Arrival(envelope(1, [0]), RAW))
    left = tmp_path / "d/v1" / name
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"of a commit that was not")
    folder = take_in(tmp_path, RAW, Arrival(envelope(2, [0], end_of_run=True, first=101), RAW))
    assert verify(tmp_path, "d", 1).problems == ()
    assert (folder / ".atoll/left" / name).exists() == ("000001" not in name)
